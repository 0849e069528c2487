"""The verdict section: the answer in words, its reasons, its numbers, and what they do not say."""

from collections.abc import Iterator
from typing import Any

from pneumo_batch.report import curve_figures, paper, randomization, verdict_figures
from pneumo_batch.report.figures import KINDS
from pneumo_batch.report.parts import (
    Finding,
    Fold,
    Heading,
    Items,
    Picture,
    Section,
    Side,
    Table,
    Text,
    interval,
    listed,
    method_name,
    number,
    slug,
)
from pneumo_batch.report.source import Source

_ANSWERS = {
    "sensitive": "Maps of {} depend on what the network learnt from the labels: they pass the data randomization test.",
    "insensitive": (
        "Maps of {} stay the same when the labels are random: they fail the data randomization test. They show the"
        " image and the architecture, not what was learnt."
    ),
    "inconclusive": "This run cannot tell whether maps of {} depend on what the network learnt from the labels.",
    "invalid": "This run says nothing about maps of {}: its models do not meet the conditions of the test.",
}
_SENTENCES = {
    "sensitive": "The maps follow the labels.",
    "insensitive": "The maps do not follow the labels.",
    "inconclusive": "The run does not decide.",
    "invalid": "The test does not apply to these models.",
}
_READING = [
    "TT, two models trained on true labels, same image: how reproducible a map is at all. Nothing can exceed it.",
    "TN, a true and a random model, same image: what is left of that agreement without the labels. The nearer to TT,"
    " the less of the map is owed to the labels.",
    "TTx and TNx, the same pairs on two different images: what maps share without sharing an image. TN less TNx is owed"
    " to the image alone, TT less TN to the labels.",
    "NN, two random models, same image: what the image makes two models share that learnt no finding.",
    "Edge and noise: agreement of true maps with the edges of the image, and with noise of the same smoothness and"
    " values. They need no model.",
    "The sensitivity index is (TT − TN) / (TT − TTx): 0 when random labels change nothing, 1 when without the"
    " labels maps of one image agree no better than true maps of two images, above 1 when they agree even less.",
    "Points are means over images; bars are 95 % intervals that resample patients.",
]
_LIMITS = [
    "A method that passes is not thereby right: it is sensitive to the labels, which is necessary and not sufficient."
    " Whether a map points at the finding is another question.",
    "Intervals and p-values hold for the models of this run. The permutation over models is the test that speaks of"
    " other trainings, and with few models it cannot reach small values.",
    "The verdict depends on the view, the scale and the metric; the job names the primary ones before the run, and the"
    " others are shown so that nobody has to guess.",
    "A random model has memorised its training labels, so it differs from a true one in what it learnt, not in whether"
    " it was trained.",
    "Nothing here is evidence of clinical usefulness, and no model of this run is meant for patients.",
]


def build(source: Source) -> Section:
    blocks: list[Any] = [Text(answer(source), "lead"), *_findings(source)]
    for method in source.methods:
        blocks += _method_blocks(source, method)
    blocks += randomization.blocks(source)
    blocks += [
        Heading("All similarities"),
        _numbers_table(source),
        _summary_table(source),
        *_localisation(source),
        *_degenerate(source),
        Heading("How to read it"),
        Items(_READING),
        Heading("Limits"),
        Items(_LIMITS),
        *paper.blocks(source),
    ]
    return Section("verdict", "Verdict", blocks)


def answer(source: Source) -> str:
    """The answer in words, methods of equal verdict together."""
    outcomes = {method: source.verdict["methods"][method]["verdict"] for method in source.methods}
    sentences = []
    for outcome, sentence in _ANSWERS.items():
        names = [method_name(method) for method, found in outcomes.items() if found == outcome]
        if names:
            sentences.append(sentence.format(listed(names)))
    return " ".join(sentences)


def _findings(source: Source) -> Iterator[Any]:
    """What all methods have in common, said once, then a box for each."""
    found = [source.verdict["methods"][method] for method in source.methods]
    shared = {
        key: [line for line in found[0][key] if all(line in one[key] for one in found)] if len(found) > 1 else []
        for key in ("reasons", "caveats")
    }
    if any(shared.values()):
        yield Heading("For every method")
        yield Items([*shared["reasons"], *shared["caveats"]])
    yield Side(
        [
            Finding(
                method_name(method),
                one["verdict"],
                _SENTENCES[one["verdict"]],
                [line for line in one["reasons"] if line not in shared["reasons"]],
                [line for line in one["caveats"] if line not in shared["caveats"]],
                one["disagreements"],
            )
            for method, one in zip(source.methods, found, strict=True)
        ]
    )


def _method_blocks(source: Source, method: str) -> list[Any]:
    found = source.verdict["methods"][method]
    pictures: list[Picture | None] = [
        verdict_figures.ladder(source, method),
        verdict_figures.scatter(source, method),
        verdict_figures.histograms(source, method),
        verdict_figures.models(source, method),
    ]
    blocks: list[Any] = [Heading(method_name(method)), Text(_in_numbers(source, method))]
    blocks.append(Side([picture for picture in pictures if picture]))
    forest = verdict_figures.forest(source, method)
    if forest:
        blocks.append(forest)
    blocks += _scales(source, method)
    cells = [[*cell.split("/"), one["verdict"], *_cell_numbers(one)] for cell, one in sorted(found["cells"].items())]
    header = ["view", "scale", "metric", "verdict", *_CELL_HEADER]
    table = Table(f"cells_{slug(method)}", f"{method_name(method)}: the test in every cell", header, cells)
    every = Fold(
        f"{method_name(method)} in every view, at every scale, by every metric",
        [verdict_figures.every_ladder(source, method), table],
    )
    return [*blocks, every]


def _scales(source: Source, method: str) -> list[Picture]:
    """The curve over grid sizes, where two true models gave one."""
    if source.scales is None:
        return []
    rows = source.scales[(source.scales["method"] == method) & source.scales["difference_low"].notna()]
    return [curve_figures.scales(method, rows)] if len(rows) else []


def _in_numbers(source: Source, method: str) -> str:
    cell, numbers = source.primary(method), source.verdict["methods"][method]["numbers"]
    where = f"Primary cell: {cell.view} view, {cell.scale} scale, {cell.metric}."
    if numbers["difference"]["mean"] is None:
        return f"{where} Without two true models there is no TT, and so no difference to test."
    test, index = numbers["permutation"], numbers["sensitivity_index"]
    parts = [
        f"TT − TN is {number(numbers['difference']['mean'])}"
        f" ({interval(numbers['difference']['ci_low'], numbers['difference']['ci_high'])}) over {numbers['images']}"
        f" images of {numbers['patients']} patients",
        f"corrected p {_p(numbers['holm_p'])}",
        f"rank-biserial effect {number(numbers['rank_biserial'])}",
        f"sensitivity index {number(index['value']) if index else 'undefined (TT does not clear TTx)'}",
    ]
    if test:
        parts.append(f"permutation over models p {number(test['p'])}, at best {number(test['smallest_p'])}")
    return f"{where} {'; '.join(parts)}."


def _p(value: float) -> str:
    return "below 0.0001" if value < 0.0001 else number(value, 4)


_CELL_HEADER = ["TT − TN", "interval", "TT − TTx", "sensitivity index", "p, corrected", "effect", "p over models"]


def _cell_numbers(numbers: dict[str, Any]) -> list[Any]:
    difference, index, test = numbers["difference"], numbers["sensitivity_index"], numbers["permutation"]
    return [
        difference["mean"],
        interval(difference["ci_low"], difference["ci_high"]),
        numbers["headroom"]["mean"],
        index["value"] if index else None,
        numbers["holm_p"],
        numbers["rank_biserial"],
        test["p"] if test else None,
    ]


def _numbers_table(source: Source) -> Table:
    """Means by kind of the primary cell and its test, a row for each method."""
    rows = []
    for method in source.methods:
        found = source.verdict["methods"][method]
        means = [found["numbers"]["means"].get(kind) for kind in KINDS]
        rows.append([method_name(method), found["verdict"], *means, *_cell_numbers(found["numbers"])])
    header = ["method", "verdict", *(short for short, _, _ in KINDS.values()), *_CELL_HEADER]
    chosen = source.verdict["primary"]
    where = f"{chosen['view']} view, {chosen['scale']} scale, {chosen['metric']}"
    return Table("verdict", f"Mean similarity by kind of pair, and the test ({where}).", header, rows)


def _summary_table(source: Source) -> Table:
    header = list(source.summary.columns)
    rows = source.summary.astype(object).where(source.summary.notna(), None).to_numpy().tolist()
    chosen = source.verdict["primary"]
    filters = ("class_name", "method", "view", "scale", "metric", "kind")
    return Table(
        "summary",
        "Every similarity of the run: means over images of each class, with 95 % intervals over patients.",
        header,
        rows,
        filters,
        {"class_name": "all", "view": chosen["view"], "scale": chosen["scale"], "metric": chosen["metric"]},
    )


def _localisation(source: Source) -> list[Any]:
    found = source.verdict.get("localisation")
    if not found or not found["images"]:
        return []
    rows = [
        [method_name(method), variant, numbers["positive_share"], numbers["pointing_game"]]
        for method, variants in found["methods"].items()
        for variant, numbers in variants.items()
    ]
    caption = (
        f"Share of the positive attribution inside the opacity, and how often the highest value lies in it (pointing"
        f" game), over {found['images']} generated images with an opacity. A map that knows nothing reaches"
        f" {number(found['chance'])}, the opacity's share of the image."
    )
    table = Table("localisation", caption, ["method", "variant", "share inside", "pointing game"], rows)
    return [Heading("Localisation"), Side([verdict_figures.localisation(source), table])]


def _degenerate(source: Source) -> list[Any]:
    counts = source.verdict["degenerate"]
    rows = [
        [*key.split("/"), *(by_variant.get(name) for name in source.variants)] for key, by_variant in counts.items()
    ]
    total = sum(value or 0 for row in rows for value in row[2:])
    heading = Heading("Degenerate maps")
    if not total:
        return [heading, Text(f"None: no map of the {source.attributed.num_rows} images is constant.")]
    caption = (
        f"Images, of {source.attributed.num_rows}, on which a variant's map is constant. Such a map has no similarity"
        " to anything and is left out of every mean."
    )
    rows = [[method_name(row[0]), *row[1:]] for row in rows]
    return [heading, Table("degenerate", caption, ["method", "view", *source.variants], rows)]
