"""The content of verdict.json as typed values: what is written is what is read, in the order that readers know."""

import json

import pytest
from helpers.results import classified

from pneumo_batch.core.statistics import estimates, localisation, results
from pneumo_batch.core.statistics.estimates import CellTest, Estimate, Interval, Permutation
from pneumo_batch.core.statistics.results import CellResult, Decision

TEST = CellTest(
    images=6,
    patients=5,
    means={"true_true": 0.8, "edge": None},
    share=Estimate(0.9, 0.7, 1.1, Interval(0.8, 1.0), 3.5, estimates.Deviations(true=0.1)),
    permutation=estimates.Permutations(Permutation(0.4, 0.05, 0.05, 20)),
)
DECISION = Decision("inconclusive", ["Few models."], "sensitive")
METHOD = results.MethodResult(
    verdict="inconclusive",
    reasons=["Few models."],
    for_these_models="sensitive",
    primary=results.Primary("signed", "pixel", "ssim"),
    threshold=0.5,
    numbers=TEST,
    cells={"signed/pixel/ssim": CellResult.of(DECISION, TEST)},
    reproducible={"signed": [2, 4]},
)
RESULTS = results.Results(
    primary=results.Primary("signed", "pixel", "ssim"),
    threshold=0.5,
    methods={"saliency": METHOD},
    variants={"true_0": classified("true", 0.5)},
    degenerate={"saliency/signed": {"true_0": 1}},
    localisation=localisation.Localisation(2, 0.1, {"saliency": {"true_0": localisation.Located(None, 0.5)}}),
)


def test_what_is_written_is_what_is_read():
    written = json.dumps(RESULTS.as_dict(), allow_nan=False)
    assert json.dumps(results.read(json.loads(written)).as_dict()) == written
    assert results.read(json.loads(written)).methods["saliency"].cells["signed/pixel/ssim"].share == TEST.share


def test_the_file_has_the_fields_and_the_order_of_the_contract():
    values = RESULTS.as_dict()
    assert list(values) == ["primary", "threshold", "methods", "variants", "degenerate", "localisation"]
    cell = values["methods"]["saliency"]["cells"]["signed/pixel/ssim"]
    assert list(cell) == [
        *("verdict", "reasons", "for_these_models", "images", "patients", "means"),
        *("difference", "everywhere", "image_specific", "headroom", "remainder", "share", "permutation"),
        "effective_patients",
    ]
    assert list(cell["share"]) == ["value", "ci_low", "ci_high", "patients", "df", "sd"]
    assert cell["share"]["sd"] == {"true": 0.1, "random": None, "patients": None}
    assert cell["permutation"] == {
        "image_specific": {"statistic": 0.4, "p": 0.05, "smallest_p": 0.05, "relabelings": 20},
        "same_film": None,
    }
    assert list(values["variants"]["true_0"]["test"])[-2:] == ["threshold", "auroc_interval"]


def test_localisation_is_left_out_where_there_are_no_generated_images():
    values = RESULTS.as_dict()
    del values["localisation"]
    assert results.read(values).localisation is None
    assert "localisation" not in results.read(values).as_dict()


def test_what_is_no_verdict_is_said_by_its_field():
    values = {**RESULTS.as_dict(), "threshold": "high"}
    with pytest.raises(ValueError, match="threshold"):
        results.read(values)
