import yaml
from helpers.paths import ROOT

from pneumo_batch import __version__


def test_the_citation_file_is_that_of_this_version():
    """The fields that the Citation File Format 1.2.0 requires, and those that go stale."""
    found = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert found["cff-version"] == "1.2.0"
    assert found["message"]
    assert found["title"].startswith("pneumo-batch")
    assert all(author.get("name") or author.get("family-names") for author in found["authors"])
    assert str(found["version"]) == __version__
    assert found["license"] == "Apache-2.0"
    for reference in found["references"]:
        assert {"type", "title", "authors"} <= set(reference)
