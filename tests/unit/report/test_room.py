"""Figures of many models, many classes and long names have room for what is in them."""

import itertools
from types import SimpleNamespace

import matplotlib
import numpy as np
import pandas as pd
import pytest

from pneumo_batch.report.figures import base, exploration, training

LONG = "Нормальная рентгенограмма органов грудной клетки без патологии"
MANY = [f"Class number {i}" for i in range(30)]


@pytest.fixture
def drawn(monkeypatch):
    """The figures that become pictures, in order."""
    figures, write = [], base.svg

    def remember(figure):
        figures.append(figure)
        return write(figure)

    monkeypatch.setattr(base, "svg", remember)
    with matplotlib.rc_context(base.STYLE):
        yield figures


def _inches(figure, ax) -> tuple[float, float]:
    box = ax.get_window_extent()
    return box.width / figure.dpi, box.height / figure.dpi


def _is_within(figure, artist) -> bool:
    box, whole = artist.get_window_extent(), figure.bbox
    return box.x0 >= -1 and box.y0 >= -1 and box.x1 <= whole.x1 + 1 and box.y1 <= whole.y1 + 1


def _overlap(labels) -> bool:
    boxes = [label.get_window_extent() for label in labels if label.get_text()]
    return any(one.overlaps(other) for one, other in itertools.pairwise(boxes))


@pytest.mark.parametrize("names", [MANY, MANY[:3], ["NORMAL", "PNEUMONIA"], [LONG, LONG[::-1]]])
def test_each_mean_image_can_be_seen(drawn, names):
    exploration.means({name: np.full((3, 32, 32), place, np.uint8) for place, name in enumerate(names)})
    (figure,) = drawn
    shown = [ax for ax in figure.axes if ax.images]
    assert len(shown) == len(names) + (len(names) == 2)
    assert all(min(_inches(figure, ax)) > 0.7 for ax in shown)
    assert not _overlap([ax.title for ax in shown])


@pytest.mark.parametrize("names", [MANY, ["NORMAL", "PNEUMONIA"], [LONG, LONG[::-1]]])
def test_a_legend_leaves_room_for_the_axes(drawn, names):
    rows = pd.DataFrame({"class_name": names * 2, "width": 50, "height": range(40, 40 + 2 * len(names))})
    source = SimpleNamespace(classes=names, manifest=rows)
    exploration.sizes(source)
    exploration.aspects(source)
    exploration.brightness({name: np.full((3, 32, 32), 99, np.uint8) for name in names})
    for figure in drawn:
        assert min(_inches(figure, figure.axes[0])) > 1.5
        assert _is_within(figure, figure.legends[0])


@pytest.mark.parametrize(("models", "groups"), [(2, MANY[:2]), (24, [LONG, f"{LONG}, virus", "B"]), (24, MANY)])
def test_accuracy_by_subtype_of_many_models(drawn, models, groups):
    kinds = {f"{kind}_{i}": kind for kind in ("true", "random") for i in range(models // 2)}
    training.subtypes([[name, kind, group, 10, 0.5] for name, kind in kinds.items() for group in groups])
    (figure,) = drawn
    width, height = _inches(figure, figure.axes[0])
    assert width > 1.5
    assert height > 0.24 * len(groups)
    assert _is_within(figure, figure.legends[0])
    assert not _overlap(figure.axes[0].get_yticklabels())


@pytest.mark.parametrize("models", [2, 24])
@pytest.mark.parametrize("classes", [["NORMAL", "PNEUMONIA"], [LONG, LONG[::-1]], MANY[:3], MANY[:6], MANY])
def test_confusion_of_many_classes(drawn, models, classes):
    test = SimpleNamespace(confusion=np.full((len(classes), len(classes)), 123).tolist(), threshold=0.5)
    results = SimpleNamespace(variants={f"true_{i}": SimpleNamespace(test=test) for i in range(models)})
    training.confusion(SimpleNamespace(variants=list(results.variants), classes=classes, results=results))
    (figure,) = drawn
    for ax in figure.axes[:models]:
        assert min(_inches(figure, ax)) > 1.2
        assert not _overlap(ax.get_xticklabels())
        assert not _overlap(ax.get_yticklabels())
        assert all(
            text.get_window_extent().width < _inches(figure, ax)[0] * figure.dpi / len(classes) for text in ax.texts
        )


def test_drift_of_many_classes(drawn):
    rng = np.random.default_rng(0)
    splits = itertools.product(("train", "test"), MANY)
    exploration.drift({key: rng.integers(0, 255, (4, 8, 8), np.uint8) for key in splits})
    (figure,) = drawn
    assert all(min(_inches(figure, ax)) > 0.7 for ax in figure.axes)
    assert figure.get_figheight() < 30


@pytest.mark.parametrize("models", [2, 10, 24])
def test_the_legend_of_many_curves_lies_below_what_the_axis_says(drawn, models):
    true, random = [f"true_{i}" for i in range(models // 2)], [f"random_{i}" for i in range(models // 2)]
    areas = {name: SimpleNamespace(test=SimpleNamespace(auroc=0.5)) for name in (*true, *random)}
    found = SimpleNamespace(probabilities=np.linspace(0, 1, 8), labels_N=np.arange(8) % 2)
    source = SimpleNamespace(true=true, random=random, variants=[*true, *random], predictions=lambda _: found)
    source.results = SimpleNamespace(variants=areas)
    training.roc(source)
    (figure,) = drawn
    below, legend = figure.axes[0].xaxis.label.get_window_extent(), figure.legends[0].get_window_extent()
    assert below.y0 > legend.y1
    assert min(_inches(figure, figure.axes[0])) > 2.5
