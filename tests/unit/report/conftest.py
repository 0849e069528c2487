import pytest
from helpers.report_runs import build_once, make_run


@pytest.fixture(scope="session")
def full(common_folder):
    return build_once(common_folder / "full", lambda root: make_run(root, curves=True, regions=True))


@pytest.fixture(scope="session")
def armed(common_folder):
    """Two doses beside the random arm, and models with fresh weights."""
    further = [{"name": f"some_{n}", "fraction": n / 100, "seeds": [n, n + 1, n + 2]} for n in (25, 50)]
    further.append({"name": "fresh", "labels": "untrained", "seeds": [7, 8, 9]})
    return build_once(common_folder / "armed", lambda root: make_run(root, further=further))


@pytest.fixture(scope="session")
def pair(common_folder):
    one = {"kinds": (1, 1), "methods": ("integrated_gradients",)}
    return build_once(common_folder / "pair", lambda root: make_run(root, **one))


@pytest.fixture(scope="session")
def few(common_folder):
    return build_once(common_folder / "few", lambda root: make_run(root, kinds=(2, 2)))


@pytest.fixture(scope="session")
def many(common_folder):
    """Three classes, and the image folder gone."""

    def make(root):
        run = make_run(root, kinds=(2, 2), classes=("A", "B", "C"), methods=("integrated_gradients",))
        (root / "images").rename(root / "moved")
        return run

    return build_once(common_folder / "many", make)
