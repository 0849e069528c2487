"""The answer of a run in words, which the terminal and the report both print."""

import subprocess
import sys

import pytest

from pneumo_batch.core.statistics.results import CellTest, Estimate, Interval, MethodResult
from pneumo_batch.core.statistics.wording import headline, listed, method_name


def found(verdict, for_these_models=None, headroom=(0.1, 0.3), patients=(0.1, 0.3), threshold=0.5):
    numbers = CellTest(headroom=Estimate(0.2, *headroom, Interval(*patients)))
    return MethodResult(verdict, [], for_these_models=for_these_models, threshold=threshold, numbers=numbers)


def test_methods_of_one_verdict_stand_together():
    methods = {
        "integrated_gradients": found("insensitive"),
        "grad_cam": found("sensitive"),
        "guided_backprop": found("insensitive"),
        "saliency": found("inconclusive"),
    }
    assert headline(methods) == (
        "Maps of Grad-CAM follow the labels. Maps of Integrated Gradients and Guided Backprop show the film: most of"
        " what correct models agree on is there without the labels. For Saliency this run cannot tell."
    )


def test_what_holds_for_the_models_of_the_run_alone_is_said_so():
    none = (None, None)
    methods = {
        "grad_cam": found("inconclusive", "sensitive", none),
        "saliency": found("inconclusive", "insensitive", none),
        "integrated_gradients": found("inconclusive", "inconclusive", none),
        "deep_lift": found("inconclusive", "invalid", none, (-0.1, 0.2)),
    }
    assert headline(methods, 4) == (
        "For these four models, maps of Grad-CAM follow the labels and maps of Saliency show the film; of other models"
        " this run cannot speak. For Integrated Gradients this run cannot tell. Maps of DeepLIFT show nothing that true"
        " models agree on about a film: there is nothing to test."
    )
    assert headline({"grad_cam": methods["grad_cam"]}).startswith("For these models, maps of Grad-CAM follow")
    assert "For these 12 models," in headline(methods, 12)


NOTHING = "Maps of Saliency show nothing that true models agree on about a film: there is nothing to test."
UNFIT = "Of maps of Saliency this run says nothing: its models do not meet the conditions of the test."


@pytest.mark.parametrize(
    ("headroom", "expected"),
    [((-0.1, 0.2), NOTHING), ((0.0, 0.0), NOTHING), ((0.1, 0.2), UNFIT), ((None, None), UNFIT)],
)
def test_invalid_by_its_maps_or_by_the_models(headroom, expected):
    assert headline({"saliency": found("invalid", headroom=headroom)}) == expected


def test_most_is_said_only_where_the_threshold_allows_it():
    assert "more than 20 % of what" in headline({"saliency": found("insensitive", threshold=0.8)})
    assert "most of what" in headline({"saliency": found("insensitive", threshold=0.3)})


def test_names():
    assert method_name("grad_cam") == "Grad-CAM"
    assert method_name("guided_backprop") == "Guided Backprop"
    assert method_name("my.module:function") == "my.module:function"
    assert method_name("integrated_gradients@blur") == "Integrated Gradients (blur)"
    assert method_name("my.module:function@fine") == "my.module:function (fine)"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed(["a", "b"], "or") == "a or b"
    assert listed([]) == "none"


def test_the_terminal_can_say_it_without_drawing_or_learning():
    code = (
        "import sys, pneumo_batch.core.statistics.wording; print({'matplotlib', 'torch', 'numpy'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
