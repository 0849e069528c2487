"""A run that stops because of its images says how it can go on (at the index: core/data/test_audit.py)."""

import pytest

from pneumo_batch.errors import DataError
from pneumo_batch.stages import attribute


@pytest.mark.parametrize(
    ("chosen", "so_that", "way_on"),
    [
        (9, "more than data.max_bad = 0.01 allows", ", or run with --set data.max_bad=0.12"),
        (1, "none is left", ""),
    ],
)
def test_too_many_images_that_cannot_be_explained_come_with_ways_on(chosen, so_that, way_on):
    bad = [{"image_id": "test/a", "reason": "changed since it was indexed"}]
    with pytest.raises(DataError) as caught:
        attribute._check(chosen, bad, 0.01)
    assert str(caught.value) == (
        f"1 of {chosen} images could no longer be read, or not be explained, {so_that}; the first is test/a: changed"
        f" since it was indexed; put back the files that have changed or gone{way_on}"
    )
