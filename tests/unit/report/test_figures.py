"""SVG files as the page embeds them: small, and with every digit that somebody wrote."""

import re

import matplotlib
import numpy as np

from pneumo_batch.report.figures import base


def test_coordinates_are_short_and_words_are_whole():
    with matplotlib.rc_context(base.STYLE):
        figure, axes = base.canvas(4, 3)
        axes[0, 0].plot(np.linspace(0, 1, 50), np.sin(np.linspace(0, 3, 50)), marker="o")
        axes[0, 0].set_title("p = 0.012345678")
        drawn = base.svg(figure).decode()
        assert base.svg(figure).decode() == drawn
    assert ">p = 0.012345678</text>" in drawn
    paths = re.findall(r'<path[^>]* d="([^"]*)"', drawn)
    assert max(len(path) for path in paths) > 400
    assert not [path for path in paths if re.search(r"\.\d{3}", path)]
    assert not re.search(r"\n\s|\s\n", drawn)
