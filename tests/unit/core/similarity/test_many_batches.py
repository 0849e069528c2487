"""Scores come in batches of any size, each with dictionaries of its own."""

import numpy as np
import pyarrow as pa
import pytest

from pneumo_batch.core import tables
from pneumo_batch.core.similarity import per_image

CELL = per_image.Cell("ig", "signed", "pixel", "spearman")
PAIRS = [("true_true", "a", "b"), ("true_random", "a", "c")]


def _rows(image: int, pairs) -> pa.Table:
    rows = [
        {"image_id": f"film{image}", "label": 0, "patient_id": f"p{image}", "degenerate": False, "score": image + k / 8}
        | dict(
            zip(("method", "view", "scale", "metric", "kind", "variant_a", "variant_b"), (*CELL, *pair), strict=True)
        )
        for k, pair in enumerate(pairs)
    ]
    return pa.Table.from_pylist(rows, schema=tables.SCORES)


@pytest.mark.parametrize("most", [1, 3, 1000])
def test_small_batches_are_put_together_without_mixing_their_names(monkeypatch, most):
    monkeypatch.setattr(per_image, "_ROWS", most)
    images = pa.table({"image_id": ["film0", "film1", "film2"], "label": [0, 0, 0], "patient_id": ["p0", "p1", "p2"]})
    parts = [_rows(0, PAIRS), _rows(1, PAIRS[::-1]), tables.SCORES.empty_table(), _rows(2, PAIRS[1:])]

    found = per_image.gather((batch for part in parts for batch in part.to_batches()), images)

    scores = {pair.kind: values.tolist() for pair, values in found.scores[CELL].items()}
    assert scores["true_random"] == [0.125, 1.0, 2.0]
    np.testing.assert_array_equal(scores["true_true"], [0.0, 1.125, np.nan])
