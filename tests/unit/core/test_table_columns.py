import numpy as np
import pyarrow as pa
import pytest

from pneumo_batch.core import table_columns


@pytest.mark.parametrize("texts", [["b", "a", "b", "Ä", "a", "", "zz", "B"], ["p10", "p9"], ["same"] * 3, []])
def test_codes_of_texts_are_those_of_sorted_objects(texts):
    chunks = pa.chunked_array([pa.array(texts[:2], pa.string()), pa.array(texts[2:], pa.string())])
    expected = np.unique(np.array(texts, dtype=object), return_inverse=True)[1]
    np.testing.assert_array_equal(table_columns.codes_of(chunks), expected)
