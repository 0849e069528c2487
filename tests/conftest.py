import os
from pathlib import Path

import pytest
from helpers.paths import REAL


@pytest.fixture(scope="session")
def kermany() -> Path:
    """The published test and train splits as 224 px JPEG files, where this machine has them."""
    folder = REAL / "kermany224"
    if not folder.is_dir():
        pytest.skip("the real chest X-rays are not on this machine (../shared/data/kermany224)")
    return folder


@pytest.fixture(scope="session")
def kermany_original() -> Path:
    """A few images as published: mixed sizes, gray and RGB."""
    folder = REAL / "kermany-original"
    if not folder.is_dir():
        pytest.skip("the real chest X-rays are not on this machine (../shared/data/kermany-original)")
    return folder


@pytest.fixture(scope="session")
def common_folder(tmp_path_factory) -> Path:
    """One folder for all of pytest's workers: what one of them has made there, the others find."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
