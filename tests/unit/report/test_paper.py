"""What a paper needs, on the page and in the files beside it."""

from pneumo_batch.report.paper import files
from pneumo_batch.report.source import Source


def test_the_fold_has_the_text_its_references_and_where_the_rest_is(full):
    run, page, _, _ = full
    written = files.methods.write(Source(run))
    said = " ".join(page.text)
    assert all(paragraph in said for paragraph in written.text.split("\n\n"))
    assert all(reference in page.text for reference in written.references)
    assert any("paper/results.csv, results.tex" in line for line in page.text)


def test_every_file_stands_beside_the_page(full):
    run, _, _, _ = full
    names = {"claim.md", "methods.txt", "results.csv", "results.tex", "results_primary.tex"}
    assert {name.rpartition("/")[2] for name in run.store.files("report/paper")} == names
    assert {name: run.store.read_bytes(f"report/paper/{name}") for name in names} == files.files(
        files.Kit.of(Source(run))
    )
    text = run.store.read_bytes("report/paper/methods.txt").decode()
    assert text.rstrip().splitlines()[-1].startswith(f"{len(files.methods.write(Source(run)).references)}. ")
