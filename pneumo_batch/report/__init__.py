"""Verdict and tables -> figures and one HTML page that needs no network."""

import warnings

import matplotlib

from pneumo_batch.report import page, parts
from pneumo_batch.report.figures import base
from pneumo_batch.report.paper import files as paper
from pneumo_batch.report.sections import exploration, gallery, record, training, verdict
from pneumo_batch.report.source import Source
from pneumo_batch.rundir.layout import REPORT
from pneumo_batch.rundir.reader import Run

__all__ = ["build"]

_FOLDER = REPORT.rpartition("/")[0]


def build(run: Run) -> dict[str, int]:
    """Write `report/index.html`, and its figures, tables, model cards and what a paper needs beside it.

    Raises RunError for a run that has not concluded.
    """
    source = Source(run)
    kit = paper.Kit.of(source)
    with matplotlib.rc_context(base.STYLE), warnings.catch_warnings():
        # what measures text lacks a letter of another script; the text of a figure is the browser's to draw
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font", UserWarning)
        found = [verdict.build(source, kit), *(one.build(source) for one in (training, exploration, record))]
    sections = parts.distinct(found)
    shown = gallery.build(source)
    blocks = [block for section in sections for block in parts.walk(section.blocks)]
    pictures = [block for block in blocks if isinstance(block, parts.Picture)]
    for picture in pictures:
        run.store.write_bytes(f"{_FOLDER}/figures/{picture.name}.{picture.suffix}", picture.data)
    for table in (block for block in blocks if isinstance(block, parts.Table)):
        run.store.write_bytes(f"{_FOLDER}/figures/{table.name}.csv", table.csv)
    for variant in source.variants:
        run.store.write_bytes(f"{_FOLDER}/model_card_{variant}.md", record.markdown(source, variant))
    for name, content in paper.files(kit).items():
        run.store.write_bytes(f"{_FOLDER}/{paper.FOLDER}/{name}", content)
    html = page.render(source, sections, shown)
    run.store.write_bytes(REPORT, html)  # last: a page that is there is a whole one
    return {"images": len(shown.cases), "figures": len(pictures), "bytes": len(html)}
