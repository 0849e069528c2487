"""The first figure: what is drawn of h, k and L, read from the marks themselves."""

import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pneumo_batch.core.statistics.estimates import Estimate, Interval
from pneumo_batch.report.figures import decomposition
from pneumo_batch.report.figures.base import EVERYWHERE, FILM, TRUE
from pneumo_batch.report.figures.decomposition import Band


def share(value=None, low=None, high=None, patients=(None, None)):
    return Estimate(value, low, high, Interval(*patients))


def band(h=0.2, k=0.05, everywhere=0.1, verdict="sensitive", **of_share):
    value = 1 - k / h if h > 0 else None
    return Band("grad_cam", verdict, h, k, share(everywhere, -0.02, 0.22), share(value, **of_share))


def drawn(*found: Band) -> Figure:
    return decomposition._figure(found, "spearman", 0.5, decomposition._WIDE)


def spans(figure: Figure, colour: str) -> list[tuple[float, float]]:
    """Left and right ends of the bars of one colour."""
    bars = [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]
    mine = [bar for bar in bars if bar.get_facecolor()[:3] == pytest.approx(to_rgb(colour)) and bar.get_width()]
    return [tuple(sorted((bar.get_x(), bar.get_x() + bar.get_width()))) for bar in mine]


def test_h_is_split_where_the_part_of_the_labels_ends():
    figure = drawn(band(h=0.2, k=0.05, low=0.6, high=0.9))
    assert spans(figure, TRUE) == [pytest.approx((0, 0.15))]
    assert spans(figure, FILM) == [pytest.approx((0.15, 0.2))]
    whiskers = [line.get_xdata() for line in figure.axes[0].lines if len(set(line.get_ydata())) == 1]
    assert any(list(ends) == pytest.approx([0.6 * 0.2, 0.9 * 0.2]) for ends in whiskers if len(ends) == 2)


@pytest.mark.parametrize(
    ("k", "labels", "film", "beyond"),
    [
        (-0.04, [(0, 0.2)], [], (0.2, 0.24)),  # L = 1.2: random labels take away more than there was
        (0.3, [], [(0, 0.2)], (-0.1, 0)),  # L = -0.5: a true and a random model agree more than two true ones
    ],
)
def test_a_part_larger_than_the_whole_is_hatched_beyond_it(k, labels, film, beyond):
    figure = drawn(band(h=0.2, k=k))
    assert [pytest.approx(one) for one in labels] == spans(figure, TRUE)
    assert [pytest.approx(one) for one in film] == spans(figure, FILM)
    (hatched,) = [patch for patch in figure.axes[0].patches if patch.get_hatch()]
    ends = sorted((hatched.get_x(), hatched.get_x() + hatched.get_width()))
    assert ends == pytest.approx(beyond)
    left, right = figure.axes[0].get_xlim()
    assert left <= ends[0]
    assert ends[1] <= right
    assert any("beyond the whole" in text.get_text() for text in figure.legends[0].get_texts())


def test_without_headroom_nothing_is_divided():
    figure = drawn(band(h=-0.02, k=0.01, verdict="invalid"), band())
    assert len(spans(figure, TRUE)) == 1
    assert "h is not above 0: nothing to divide" in [text.get_text() for text in figure.axes[0].texts]
    assert "h is not above 0, so there is no label share" in decomposition.said(band(h=-0.02))


def test_an_interval_wider_than_the_figure_ends_in_an_arrow():
    figure = drawn(band(h=0.2, k=0.05, low=-30.0, high=30.0))
    left, right = figure.axes[0].get_xlim()
    assert right - left < 1
    assert {"<", ">"} <= {line.get_marker() for line in figure.axes[0].lines}


def test_the_interval_in_words():
    assert "label share 0.75 (0.60 to 0.90); sensitive. On every film alike, labels change 0.10 (−0.02 to 0.22)." in (
        decomposition.said(band(low=0.6, high=0.9))
    )
    assert "0.75 (0.50 to 1.00, these models only)" in decomposition.said(band(patients=(0.5, 1.0)))
    assert "0.75 (no interval)" in decomposition.said(band())


@pytest.mark.parametrize("layout", [decomposition._WIDE, decomposition._NARROW])
def test_what_labels_change_on_every_film_has_an_axis_of_its_own(layout):
    figure = decomposition._figure([band(h=0.02, k=0.01, everywhere=0.1)], "spearman", 0.5, layout)
    bars, every = figure.axes
    assert max(bars.get_xlim()) < 0.1  # the bar is not dwarfed by what is no part of it
    (point,) = [line for line in every.lines if line.get_marker() == "D"]
    assert point.get_xdata() == [0.1]
    assert point.get_markerfacecolor() == EVERYWHERE
    assert any(
        [*line.get_xdata()] == pytest.approx([-0.02, 0.22]) for line in every.lines if len(line.get_xdata()) == 2
    )
    assert any("0.10 (−0.02 to 0.22)" in text.get_text() for text in every.texts)
    left, right = every.get_xlim()
    assert left < -0.02
    assert right > 0.22


def test_fewer_methods_have_higher_bands():
    heights = [
        decomposition._figure([band()] * count, "m", 0.5, decomposition._WIDE).get_figheight() for count in (2, 4)
    ]
    assert heights[0] == pytest.approx(heights[1], rel=0.1)  # and so are as high as the words beside them


def test_ten_methods_and_a_long_name_keep_their_places():
    name = "my_department.saliency.methods:expected_gradients_with_smoothing_and_sixteen_reference_films"
    first = Band(name, "sensitive", 0.2, 0.05, share(0.1), share(0.75, 0.6, 0.9))
    found = [first, *[band(low=0.6, high=0.9)] * 9]
    for layout in (decomposition._WIDE, decomposition._NARROW):
        figure = decomposition._figure(found, "spearman", 0.5, layout)
        figure.draw_without_rendering()
        texts = {text.get_text(): text.get_window_extent() for text in figure.axes[0].texts}
        (long,) = [box for words, box in texts.items() if words.startswith("my_dep")]
        (verdict,) = {box.x0 for words, box in texts.items() if words == "sensitive"}
        assert long.x1 < verdict
        assert long.x1 < texts["L = 0.75 (0.60 to 0.90)"].x0 or layout is decomposition._NARROW
