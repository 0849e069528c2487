"""The files for a paper beside the page of a report."""

from pneumo_batch.report.paper import claim, methods, results_table
from pneumo_batch.report.source import Source

FOLDER = "paper"  # below that of the page


def files(source: Source) -> dict[str, bytes]:
    """Their content, by name."""
    written = methods.write(source)
    references = [f"{place}. {text}" for place, text in enumerate(written.references, start=1)]
    table = results_table.frame(source.results, source.methods)
    return {
        "methods.txt": "\n".join([written.text, "", *references, ""]).encode(),
        "results.csv": results_table.csv(table),
        "results.tex": results_table.latex(table),
        "results_primary.tex": results_table.latex(table, primary=True),
        "claim.md": claim.markdown(source),
    }
