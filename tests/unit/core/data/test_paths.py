"""Parts of paths are those that pathlib tells."""

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pneumo_batch.core.data import paths

# a name that ends with a dot has a suffix from Python 3.14 on, and "..a" cannot lose its own from 3.13 on
_NAMES = st.text("ab.- é", min_size=1, max_size=6).filter(lambda name: name[-1] != "." and not name.startswith(".."))
_PATHS = st.lists(_NAMES, min_size=1, max_size=4).map("/".join)


@given(_PATHS)
def test_parts_are_those_of_pathlib(path):
    known = PurePosixPath(path)

    assert (paths.name(path), paths.stem(path), paths.suffix(path)) == (known.name, known.stem, known.suffix)
    assert paths.without_suffix(path) == str(known.with_suffix(""))
    assert paths.is_normal(path)


@given(st.text("a./", min_size=1, max_size=8))
def test_a_normal_path_is_one_that_pathlib_leaves_as_it_is(path):
    if paths.is_normal(path):
        assert str(PurePosixPath(path)) == path
        assert ".." not in PurePosixPath(path).parts


@pytest.mark.parametrize("folder", ["", ".", "/", "/data", "data/x", "bucket"])
def test_below_a_folder(folder):
    assert paths.below(folder, "a/b.png") == str(PurePosixPath(folder) / "a/b.png")
