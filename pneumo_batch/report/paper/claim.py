"""CLAIM 2024, the Checklist for Artificial Intelligence in Medical Imaging, as far as a run can answer it.

Numbers and names of the items are those of Tejani et al., Radiology: Artificial Intelligence 2024
(doi:10.1148/ryai.240300); what each asks for in full is told there.
"""

from collections.abc import Mapping
from typing import NamedTuple

from pneumo_batch.report import parts
from pneumo_batch.report.paper import claim_data, claim_models, claim_results
from pneumo_batch.report.paper.answers import Answer
from pneumo_batch.report.paper.references import PAPERS
from pneumo_batch.report.parts import Block, Fold, Items, Text
from pneumo_batch.report.source import Source

NOT_ANSWERED = "Not answered by a run."


class Item(NamedTuple):
    section: str
    name: str


_SECTIONS = {
    "Title and abstract": {
        1: "Identification as a study of AI methodology, specifying the category of technology used",
        2: "Summary of study design, methods, results, and conclusions",
    },
    "Introduction": {
        3: "Scientific and/or clinical background, including the intended use and role of the AI approach",
        4: "Study aims, objectives, and hypotheses",
    },
    "Methods: study design": {5: "Prospective or retrospective study", 6: "Study goal"},
    "Methods: data": {
        7: "Data sources",
        8: "Inclusion and exclusion criteria",
        9: "Data preprocessing",
        10: "Selection of data subsets",
        11: "De-identification methods",
        12: "How missing data were handled",
        13: "Image acquisition protocol",
    },
    "Methods: reference standard": {
        14: "Definition of method(s) used to obtain reference standard",
        15: "Rationale for choosing the reference standard",
        16: "Source of reference standard annotations",
        17: "Annotation of test set",
        18: "Measures of inter- and intrarater variability of features described by the annotators",
    },
    "Methods: data partitions": {
        19: "How data were assigned to partitions",
        20: "Level at which partitions are disjoint",
    },
    "Methods: testing data": {21: "Intended sample size"},
    "Methods: model": {
        22: "Detailed description of model",
        23: "Software libraries, frameworks, and packages",
        24: "Initialization of model parameters",
    },
    "Methods: training": {
        25: "Details of training approach",
        26: "Method of selecting the final model",
        27: "Ensembling techniques",
    },
    "Methods: evaluation": {
        28: "Metrics of model performance",
        29: "Statistical measures of significance and uncertainty",
        30: "Robustness or sensitivity analysis",
        31: "Methods for explainability or interpretability",
        32: "Evaluation on internal data",
        33: "Testing on external data",
        34: "Clinical trial registration",
    },
    "Results: data": {
        35: "Numbers of patients or examinations included and excluded",
        36: "Demographic and clinical characteristics of cases in each partition",
    },
    "Results: model performance": {
        37: "Performance metrics and measures of statistical uncertainty",
        38: "Estimates of diagnostic performance and their precision",
        39: "Failure analysis of incorrectly classified cases",
    },
    "Discussion": {
        40: "Study limitations",
        41: "Implications for practice, including intended use and/or clinical role",
    },
    "Other information": {
        42: "Provide a reference to the full study protocol or to additional technical details",
        43: "Statement about the availability of software, trained model, and/or data",
        44: "Sources of funding and other support; role of funders",
    },
}
ITEMS: Mapping[int, Item] = {
    number: Item(section, name) for section, items in _SECTIONS.items() for number, name in items.items()
}
_ANSWERS = {**claim_data.ANSWERS, **claim_models.ANSWERS, **claim_results.ANSWERS}


def answers(source: Source) -> dict[int, Answer | None]:
    """By item what the run says of it; None where no run can, or this one does not."""
    return {number: _ANSWERS[number](source) if number in _ANSWERS else None for number in ITEMS}


def blocks(found: Mapping[int, Answer | None]) -> list[Block]:
    """Of `answers`, behind a line that counts them: those there are, by section, and then the names of other items."""
    lists = [
        Items([_line(number, answer) for number in items if (answer := found[number])], "small", section)
        for section, items in _SECTIONS.items()
    ]
    others = [f"{number}. {item.name}" for number, item in ITEMS.items() if not found[number]]
    whole = sum(answer.is_whole for answer in found.values() if answer)
    counted = f"{whole} of {len(ITEMS)} items answered, {len(ITEMS) - whole - len(others)} in part"
    return [
        Text(f"The checklist: {PAPERS['claim'].text} Complete the original for a submission.", "note"),
        Fold(
            f"Item by item: {counted}",
            [*(one for one in lists if one.items), Items(others, "small", NOT_ANSWERED.removesuffix("."))],
        ),
    ]


def _line(number: int, answer: Answer) -> str:
    return f"{number}. {ITEMS[number].name}{'' if answer.is_whole else ' (in part)'}: {answer.text}"


def markdown(found: Mapping[int, Answer | None]) -> bytes:
    """The same as a file of its own; names from outside cannot become markup."""
    about = "What a run of pneumo-batch answers, item by item; the rest is for the authors to answer. The checklist:"
    lines = ["# CLAIM 2024", "", f"{about} {PAPERS['claim'].text}"]
    for section, items in _SECTIONS.items():
        lines += ["", f"## {section}", ""]
        lines += [f"- **{number}. {name}.** {_said(found[number])}" for number, name in items.items()]
    return ("\n".join(lines) + "\n").encode()


def _said(answer: Answer | None) -> str:
    if answer is None:
        return NOT_ANSWERED
    text = parts.markdown(answer.text)
    return text if answer.is_whole else f"(In part.) {text}"
