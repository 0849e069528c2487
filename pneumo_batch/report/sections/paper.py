"""What a paper about the run needs, in a fold of the page; the files beside the page hold the same."""

from pneumo_batch.report.paper import claim
from pneumo_batch.report.paper.files import FOLDER, Kit
from pneumo_batch.report.parts import Block, Code, Heading, Items, Text


def blocks(kit: Kit) -> list[Block]:
    return [
        Heading("Methods"),
        Text(
            "Ready to paste; every number is a parameter or a count of this run. Cite your image data as well.",
            "note",
        ),
        Code(kit.methods.text, "Methods"),
        Items(kit.methods.references, "references"),
        Heading("Results"),
        Text(
            f"{FOLDER}/results.csv, results.tex (a longtable) and results_primary.tex (a table of what the verdicts"
            " are read from), beside this page, have a row for each target, arm, method, view, scale and metric. The"
            " LaTeX needs the packages booktabs and longtable.",
            "note",
        ),
        Heading("Checklist for Artificial Intelligence in Medical Imaging (CLAIM), 2024 update"),
        *claim.blocks(kit.claim),
    ]
