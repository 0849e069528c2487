from pathlib import Path

import pytest
from helpers.paths import REAL

_REPORT = Path(__file__).parent / "unit/report"


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the marks when this is done
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of a file stay with one of pytest's workers, because they share runs; those of the report all together."""
    for item in items:
        together = _REPORT if _REPORT in item.path.parents else item.path
        item.add_marker(pytest.mark.xdist_group(str(together.relative_to(_REPORT.parents[1])).replace("@", "")))


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
