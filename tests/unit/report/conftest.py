import pytest
from helpers.report_runs import build, make_run


@pytest.fixture(scope="session")
def full(tmp_path_factory):
    return build(make_run(tmp_path_factory.mktemp("full"), curves=True, regions=True))


@pytest.fixture(scope="session")
def pair(tmp_path_factory):
    return build(make_run(tmp_path_factory.mktemp("pair"), kinds=(1, 1), methods=("integrated_gradients",)))


@pytest.fixture(scope="session")
def few(tmp_path_factory):
    return build(make_run(tmp_path_factory.mktemp("few"), kinds=(2, 2)))


@pytest.fixture(scope="session")
def many(tmp_path_factory):
    """Three classes, and the image folder gone."""
    root = tmp_path_factory.mktemp("many")
    run = make_run(root, kinds=(2, 2), classes=("A", "B", "C"), methods=("integrated_gradients",))
    (root / "images").rename(root / "moved")
    return build(run)
