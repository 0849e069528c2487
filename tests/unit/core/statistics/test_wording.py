"""The answer of a run in words, which the terminal and the report both print."""

import subprocess
import sys

import pytest

from pneumo_batch.core.statistics.estimates import CellTest, Estimate
from pneumo_batch.core.statistics.outcomes import NO_MAP, UNTOLD_MAP
from pneumo_batch.core.statistics.results import MethodResult
from pneumo_batch.core.statistics.wording import common, headline, listed, method_name


def found(verdict, for_these_models=None, reasons=(), threshold=0.5, headroom=(0.1, 0.3)):
    numbers = CellTest(headroom=Estimate(0.2, *headroom))
    return MethodResult(verdict, list(reasons), for_these_models=for_these_models, threshold=threshold, numbers=numbers)


def test_methods_of_one_verdict_stand_together():
    methods = {
        "integrated_gradients": found("insensitive"),
        "grad_cam": found("sensitive"),
        "guided_backprop": found("insensitive"),
        "saliency": found("inconclusive"),
    }
    assert headline(methods) == (
        "Maps of Grad-CAM follow the labels. Maps of Integrated Gradients and Guided Backprop show the film: most of"
        " what correct models agree on about a film is there without the labels. For Saliency this run cannot tell."
    )


def test_what_holds_for_the_models_of_the_run_alone_is_said_so():
    methods = {
        "grad_cam": found("inconclusive", "sensitive"),
        "saliency": found("inconclusive", "insensitive"),
        "integrated_gradients": found("inconclusive", "inconclusive"),
        "deep_lift": found("inconclusive", "invalid", ["Two true models.", f"It would be invalid. {NO_MAP}"]),
    }
    assert headline(methods, 4) == (
        "For these four models, maps of Grad-CAM follow the labels and maps of Saliency show the film; this run"
        " says nothing about other models. For Integrated Gradients this run cannot tell. Maps of DeepLIFT show"
        " nothing that true models agree on about a film: there is nothing to test."
    )
    assert headline({"grad_cam": methods["grad_cam"]}).startswith("For these models, maps of Grad-CAM follow")
    assert "For these 12 models," in headline(methods, 12)


NOTHING = "Maps of Saliency show nothing that true models agree on about a film: there is nothing to test."
UNTOLD = (
    "For maps of Saliency it cannot be told whether true models agree on anything about a film, without which there is"
    " nothing to test."
)
UNFIT = "This run says nothing about maps of Saliency: its models do not meet the conditions of the test."


@pytest.mark.parametrize(
    ("reasons", "expected"),
    [
        ([f"h = -0.1. {NO_MAP}"], NOTHING),
        ([f"h = 0.4. {UNTOLD_MAP}", "Most of the interval's width comes from the patients."], UNTOLD),
        (["random_100 did not memorise its labels."], UNFIT),
    ],
)
def test_invalid_by_its_maps_or_by_the_models(reasons, expected):
    """Of models that learned nothing h may well not be above 0; that says nothing of the method."""
    assert headline({"saliency": found("invalid", reasons=reasons, headroom=(-0.1, 0.2))}) == expected


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


def test_reasons_in_common_are_those_that_all_begin_with():
    own, width = "L = 0.6.", "Most of its width comes from the patients."
    assert common([["unfit", "few", own], ["unfit", "few", width]]) == ["unfit", "few"]
    assert common([["unfit"], ["unfit", "few"]]) == ["unfit"]
    assert common([[own, width], ["L = 0.7.", width]]) == []  # which would say nothing without its L
    assert common([[own, width]]) == []
    assert common([]) == []
