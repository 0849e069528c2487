"""The papers behind what runs do: every one that the documentation names, in the report's list and in CITATION.cff."""

import re

import pytest
import yaml
from helpers.paths import DOCS, ROOT

from pneumo_batch.core.attribution.explainer import METHODS
from pneumo_batch.report.paper.methods import _cited
from pneumo_batch.report.paper.references import PAPERS, Citations, Uncited

PAGES = ("method", "arms", "training", "statistics", "parameter-randomization")
TRIED_ONLY = {("Owen", 2007)}  # of docs/statistics.md: not what a run does


def page(name):
    return (DOCS / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PAGES)
def test_every_paper_that_a_page_links_to_stands_in_the_list(name):
    linked = set(re.findall(r"arxiv\.org/abs/(\d{4}\.\d{4,5})|doi\.org/([^\s)]+)", page(name)))
    known = {paper.arxiv for paper in PAPERS.values()} | {paper.doi for paper in PAPERS.values()}
    assert [found for found in linked if "".join(found) not in known] == []


@pytest.mark.parametrize("name", PAGES)
def test_every_paper_that_a_page_names_stands_in_the_list(name):
    """By its first author and year: "Sundararajan et al. 2017", "Efron and Stein 1981"."""
    named = re.findall(
        r"([A-Z][^\W\d_]+)(?: [A-Z][^\W\d_]+)? (?:et al\.|and [A-Z][^\W\d_]+),?\s\(?(?:NeurIPS )?(\d{4})", page(name)
    )
    known = {(name, paper.year) for paper in PAPERS.values() for name in re.findall(r"[^\W\d_]+", paper.authors)}
    missing = {(author, int(year)) for author, year in named} - known - TRIED_ONLY
    assert missing - {("Cameron", 2014)} == set()  # said beside Aronow et al., whom the methods cite


def test_the_pages_name_papers():
    """The two tests above find what they look for."""
    assert re.search(r"Sundararajan et al\. 2017", page("method"))
    assert len(re.findall(r"arxiv\.org/abs/", "".join(map(page, PAGES)))) >= 5


def test_the_citation_file_names_the_same_papers():
    """All but the checklist, which is no method of a run."""
    references = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["references"]
    there = {(one["title"].lower(), one["year"], identifier(one)) for one in references}
    papers = [paper for name, paper in PAPERS.items() if name != "claim"]
    assert there == {(paper.title.lower(), paper.year, paper.identifier) for paper in papers}
    for reference in references:
        assert reference["authors"][0]["family-names"]


def identifier(reference):
    if reference["type"] == "book":
        return ""
    arxiv = reference.get("url", "").removeprefix("https://arxiv.org/abs/")
    return f"doi:{reference['doi']}" if "doi" in reference else f"arXiv:{arxiv}"


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_has_its_paper(method):
    assert re.fullmatch(r" \[1(, 2)?\]", _cited(f"{method}@setting", Citations()))


def test_a_method_of_the_users_own_has_none():
    assert _cited("module:function", Citations()) == ""


def test_papers_are_numbered_in_the_order_of_the_text():
    cite = Citations()
    assert [cite("zhang", "saporta"), cite("otsu", "saporta"), cite("zhang")] == [" [1, 2]", " [2, 3]", " [1]"]
    assert [paper.year for paper in cite.papers] == [2016, 2022, 1979]
    assert Uncited()("zhang") == ""
    with pytest.raises(KeyError):
        cite("nobody")


def test_a_reference_in_words():
    assert PAPERS["otsu"].text == (
        "Otsu N. A threshold selection method from gray-level histograms. IEEE Transactions on Systems, Man, and"
        " Cybernetics 9(1):62–66, 1979. doi:10.1109/TSMC.1979.4310076."
    )
    assert PAPERS["arun_2020"].text.startswith("Arun NT, Gaw N, Singh P, Chang K, Hoebel KV, Patel J, et al. Assessing")
    assert "trained with random labels? Advances in" in PAPERS["maennel"].text
    assert PAPERS["smooth_grad"].text.endswith("adding noise. 2017. arXiv:1706.03825.")
