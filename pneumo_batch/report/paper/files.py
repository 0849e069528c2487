"""What a paper about a run needs, computed once for the page and for the files beside it."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from pneumo_batch.report.paper import claim, methods, results_table
from pneumo_batch.report.paper.answers import Answer
from pneumo_batch.report.paper.methods import Methods
from pneumo_batch.report.source import Source

FOLDER = "paper"  # below that of the page


@dataclass(frozen=True)
class Kit:
    """The methods in words, the results as a table, and by item of CLAIM what the run answers."""

    methods: Methods
    results: pd.DataFrame
    claim: Mapping[int, Answer | None]

    @classmethod
    def of(cls, source: Source) -> "Kit":
        return cls(methods.write(source), results_table.frame(source.results, source.methods), claim.answers(source))


def files(kit: Kit) -> dict[str, bytes]:
    """Their content, by name."""
    references = [f"{place}. {text}" for place, text in enumerate(kit.methods.references, start=1)]
    return {
        "methods.txt": "\n".join([kit.methods.text, "", *references, ""]).encode(),
        "results.csv": results_table.csv(kit.results),
        "results.tex": results_table.latex(kit.results),
        "results_primary.tex": results_table.latex(kit.results, primary=True),
        "claim.md": claim.markdown(kit.claim),
    }
