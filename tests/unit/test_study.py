"""docs/study.md says what the committed tables of its runs say, and the tables are of the jobs that are shipped."""

import re
from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pytest
from helpers import study
from helpers.paths import DOCS, JOBS
from markdown_it import MarkdownIt
from scipy import integrate, stats

from pneumo_batch.job import jobfile

PAGE = DOCS / "study.md"
NUMBER = re.compile(r"(?<![\w.])-?\d+\.\d+")


@dataclass
class Section:
    tables: list[list[list[str]]] = field(default_factory=list)
    text: list[str] = field(default_factory=list)

    @property
    def numbers(self):
        return {number for table in self.tables for row in table for cell in row for number in NUMBER.findall(cell)}


def plain(inline):
    kept = {"text": lambda token: token.content, "softbreak": lambda token: " "}
    return "".join(kept[token.type](token) for token in inline.children or [] if token.type in kept)


def read():
    """The page by its headings: rows of each table without their head, and what stands outside of tables and code."""
    found, title, above = defaultdict(Section), "", ""
    for token in MarkdownIt("commonmark").enable("table").parse(PAGE.read_text(encoding="utf-8")):
        kind, above = above, token.type
        if token.type == "tbody_open":
            found[title].tables.append([])
        elif token.type == "tr_open" and found[title].tables and kind in ("tbody_open", "tr_close"):
            found[title].tables[-1].append([])
        elif token.type == "inline" and kind == "heading_open":
            title = plain(token)
        elif token.type == "inline" and kind == "td_open":
            found[title].tables[-1][-1].append(plain(token))
        elif token.type == "inline" and kind != "th_open":
            found[title].text.append(plain(token))
    return dict(found)


SECTIONS = read()


def test_the_tables_of_the_page_are_those_that_are_recomputed():
    counts = {title: len(section.tables) for title, section in SECTIONS.items() if section.tables}
    assert counts == {title: len(makers) for title, makers in study.SECTIONS.items()}


MAKERS = [
    pytest.param(title, place, make, id=make.__name__)
    for title, makers in study.SECTIONS.items()
    for place, make in enumerate(makers)
]


@pytest.mark.parametrize(("title", "place", "make"), MAKERS)
def test_every_row_is_that_of_the_kept_tables(title, place, make):
    assert SECTIONS[title].tables[place] == make()


def computed():
    """Numbers of the text that no table of the page has."""
    shares = [study.cell("methods", name, study.PRIMARY)["share"]["value"] for name in study.by_share()]
    left = [study.depths("magnitude").loc[(name, 7), "mean"] for name in study.by_share()]
    yield study.rounded(stats.spearmanr(shares, left).statistic, 2)
    for part, arm in (("methods", "true"), ("task", "subtype")):
        yield study.rounded(study.models(part).set_index("arm").loc[arm, "majority"].unique().item(), 3)
    yield from NUMBER.findall(study.span(study.models("task").set_index("arm").loc["subtype", "test_auroc"], 3))
    (torch,) = {study.record(part)["versions"]["torch"].rpartition(".")[0] for part in study.PARTS}
    yield torch


@pytest.mark.parametrize("title", list(SECTIONS))
def test_numbers_of_the_text_are_in_a_table_of_its_section(title):
    """Or in that of the models; where a section has no table, in any of the page."""
    everywhere = set().union(*(section.numbers for section in SECTIONS.values()))
    own = SECTIONS[title].numbers | SECTIONS["The models"].numbers if SECTIONS[title].tables else everywhere
    said = {number for text in SECTIONS[title].text for number in NUMBER.findall(text)}
    assert said - own - set(computed()) == set()


def phrases():
    """Counts that the text tells."""
    found = [int(row[2]) for row in study.same_false_alarms()]
    yield f"they find {min(found[1:])} to {max(found[1:])} of 390, which there were {found[0]}"
    films = study.cell("task", "grad_cam", study.PRIMARY, "subtype")
    yield f"{films['images']} films of {films['patients']} patients"
    last = study.depths("magnitude").loc[("grad_cam", 7)]
    yield f"Of Grad-CAM's {last['pairs']} pairs with all layers new {last['degenerate']} have no similarity"
    (train,) = {*study.models("methods")["training_films"]}
    (own,) = {*study.models("task").set_index("arm").loc["subtype", "training_films"]}
    yield f"{train} are learnt from"
    yield f"the {own} training films that show pneumonia"


@pytest.mark.parametrize("phrase", list(phrases()))
def test_counts_of_the_text_are_those_of_the_tables(phrase):
    assert phrase in " ".join(" ".join(section.text) for section in SECTIONS.values())


def test_the_text_says_how_long_each_part_took():
    took = [int(value) for title in SECTIONS for value in re.findall(r"took (\d+) s", " ".join(SECTIONS[title].text))]
    # in the order of the page
    parts = ["methods", "dose", "patients", "networks", "task", "notebooks"]
    by_part = {row[0]: int(row[-1]) for row in study.seconds()}
    assert took == [by_part[part] for part in parts]


@pytest.mark.parametrize("part", study.PARTS)
def test_each_part_is_a_shipped_job_that_the_page_names(part):
    assert f"$ pneumo-batch run study-{part} --set data.root=DATA" in PAGE.read_text(encoding="utf-8")
    job = jobfile.load(JOBS / f"study-{part}.toml")
    found = study.verdict(part)
    assert study.record(part)["name"] == job.name == f"study-{part}"
    assert set(found["methods"]) == set(job.attribution.methods)
    seeds = {("true", seed) for seed in job.train.true_seeds} | {("random", seed) for seed in job.train.random_seeds}
    seeds |= {(arm.name, seed) for arm in job.arm for seed in arm.seeds}
    assert {tuple(pair) for pair in study.models(part)[["arm", "seed"]].itertuples(index=False)} == seeds
    assert set(found["variants"]) == {f"{arm}_{seed}" for arm, seed in seeds}


@pytest.mark.parametrize("part", study.PARTS)
def test_models_and_results_agree_with_the_verdict(part):
    found = study.verdict(part)
    for name, row in study.models(part).set_index("model").iterrows():
        # older pandas err in the last digit of what they read
        wanted = found["variants"][name]["test"]["auroc"], found["variants"][name]["training_accuracy"]
        assert (row["test_auroc"], row["accuracy_on_given_labels"]) == pytest.approx(wanted, rel=1e-15)
    results = pd.read_csv(study.TABLES / part / "results.csv")
    for row in results.itertuples():
        methods = found["arms"][row.arm]["methods"] if "arms" in found else found["methods"]
        kept = methods[row.method]["cells"][f"{row.view}/{row.scale}/{row.metric}"]
        assert row.verdict == kept["verdict"]
        if part != "notebooks":  # nothing to contrast there
            assert pytest.approx(kept["share"]["value"], abs=0.005) == row.L


@pytest.mark.parametrize("part", ["dose", "patients", "task"])
def test_three_parts_have_models_of_the_first(part):
    first, own = (study.models(name).set_index("model") for name in ("methods", part))
    shared = [name for name in own.index if name.startswith(("true_", "random_"))]
    assert len(shared) == 6
    pd.testing.assert_frame_equal(own.loc[shared], first.loc[shared])


def test_curves_have_the_areas_of_the_verdict():
    for name, one in study.verdict("notebooks")["variants"].items():
        false, true = np.array(study.corners(name)).T
        assert (false[-1], true[-1]) == (234, 390)
        assert integrate.trapezoid(true, false) / (234 * 390) == pytest.approx(one["test"]["auroc"], abs=1e-4)
        # the point that the threshold of validation stands for lies on the curve
        (_, alarms), (_, hits) = one["test"]["confusion"]
        assert np.interp(alarms, false, true) == pytest.approx(hits, abs=1)
