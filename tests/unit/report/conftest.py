import pytest
from helpers.report_runs import build, make_run


@pytest.fixture(scope="session")
def full(tmp_path_factory):
    return build(make_run(tmp_path_factory.mktemp("full"), curves=True, regions=True))


@pytest.fixture(scope="session")
def armed(tmp_path_factory):
    """Two doses beside the random arm, and models with fresh weights."""
    further = [{"name": f"some_{n}", "fraction": n / 100, "seeds": [n, n + 1, n + 2]} for n in (25, 50)]
    further.append({"name": "fresh", "labels": "untrained", "seeds": [7, 8, 9]})
    return build(make_run(tmp_path_factory.mktemp("armed"), further=further))


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
