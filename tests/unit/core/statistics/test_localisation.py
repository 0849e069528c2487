"""Means of how well maps point at findings, solved by hand, and their intervals against a bootstrap written plainly."""

import json

import numpy as np
import pytest
from pydantic import TypeAdapter

from pneumo_batch.core.statistics import localisation
from pneumo_batch.core.statistics.localisation import Measured
from pneumo_batch.core.statistics.pointing import Localisation

KINDS = {"true": ["true_0", "true_1"], "random": ["random_0"]}
NAN = np.nan


def values(hits, others=0.25):
    """(N, M) whose first measure is given."""
    return np.column_stack([hits, *[np.full(len(hits), others)] * 3])


def measured(finding="Mass", films=4, **fields):
    ids = [f"{finding}-{k}" for k in range(films)]
    known = {
        ("cam", "true_0"): values([1.0, 1, 0, 0][:films]),
        ("cam", "true_1"): values([1.0, 0, 0, NAN][:films]),
        ("cam", "random_0"): values([0.0, 0, 0, 1][:films]),
        ("cam", "cross_image"): values([0.5, 0, NAN, 0][:films]),
        (None, "mean_mask"): values([0.0, 1, 0, 0][:films], NAN),
    }
    inside = np.array([0.1, 0.3, 0.1, 0.1][:films])
    patients = ["p", "p", "q", "r"][:films]
    return Measured(finding, ids, patients, 9, inside, "training films", {**known, **fields})


def test_means_by_hand():
    found = localisation.of_finding(measured(), KINDS, 100)
    assert (found.films, found.patients, found.there, found.mean_mask_of) == (4, 3, 9, "training films")
    assert found.chance == pytest.approx(0.15)
    hit = {name: means["hit"] for name, means in found.methods["cam"].items()}
    assert {name: (one.mean, one.films) for name, one in hit.items()} == {
        "true_0": (0.5, 4),
        "true_1": (pytest.approx(1 / 3), 3),
        "random_0": (0.25, 4),
        "cross_image": (pytest.approx(0.5 / 3), 3),
    }
    # by film the mean of what is defined: 1, 0.5, 0, 0
    assert found.kinds["cam"]["true"]["hit"].mean == pytest.approx(0.375)
    assert found.baselines["mean_mask"]["hit"].mean == 0.25
    assert found.baselines["mean_mask"]["iou"] == localisation.Mean(None, None, None, 0)
    differences = {name: means["hit"].mean for name, means in found.differences["cam"].items()}
    assert differences == {
        "random": pytest.approx((1 + 0.5 + 0 - 1) / 4),
        "mean_mask": pytest.approx((1 - 0.5 + 0 + 0) / 4),
        "cross_image": pytest.approx((0.5 + 0.5 + 0) / 3),  # the third film has no map of another
    }


def test_intervals_resample_patients():
    """Drawn here one by one: a patient's films come or stay away together."""
    rng = np.random.default_rng(5)
    films = 40
    patients = [f"p{k // 2}" for k in range(films)]
    by_patient = np.repeat(rng.random(films // 2), 2)
    one = Measured(
        "Mass",
        [str(k) for k in range(films)],
        patients,
        films,
        np.full(films, 0.1),
        None,
        {("cam", "true_0"): values(by_patient)},
    )
    mean = localisation.of_finding(one, {"true": ["true_0"], "random": []}, 4000).methods["cam"]["true_0"]["hit"]
    draws = [by_patient[::2][rng.integers(0, films // 2, films // 2)].mean() for _ in range(4000)]
    low, high = np.percentile(draws, [2.5, 97.5])
    assert (mean.ci_low, mean.ci_high) == (pytest.approx(low, abs=0.015), pytest.approx(high, abs=0.015))


def test_the_whole_has_the_means_of_all_findings_together_and_survives_json():
    found = localisation.conclude([measured(), measured("Edema", 2), measured("None", 0)], KINDS, 100)
    assert set(found.findings) == {"Mass", "Edema"}
    assert found.images == 6
    assert found.chance == pytest.approx((0.1 + 0.3 + 0.1 + 0.1 + 0.1 + 0.3) / 6)
    assert set(found.methods["cam"]) == {"true_0", "true_1", "random_0"}  # as older readers know them
    assert found.methods["cam"]["true_0"].pointing_game == pytest.approx(4 / 6)
    adapter = TypeAdapter(Localisation)
    assert adapter.validate_python(json.loads(json.dumps(adapter.dump_python(found)))) == found


def test_nothing_measured_is_nothing_said():
    assert localisation.conclude([], KINDS, 100) == Localisation(0, None, {})
    assert localisation.conclude([measured(films=0)], KINDS, 100) == Localisation(0, None, {})


def test_rows_of_the_table():
    rows = measured().rows()
    assert rows.num_rows == 5 * 4 * 4
    frame = rows.to_pandas()
    one = frame[(frame["variant"] == "true_0") & (frame["image_id"] == "Mass-1")]
    assert one["measure"].tolist() == list(localisation.MEASURES)
    assert one["value"].tolist() == [1, 0.25, 0.25, 0.25]
    assert set(one["patient_id"]) == {"p"}
    assert frame.loc[frame["variant"] == "mean_mask", "method"].isna().all()
