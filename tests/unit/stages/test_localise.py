"""What conclude measures of films with boxes, recomputed plainly from the tables of a run."""

import shutil

import numpy as np
import pytest
from helpers import report_runs
from helpers.tiny import tiny_job
from PIL import Image

from pneumo_batch.core.attribution import localisation
from pneumo_batch.core.similarity import metrics, pairs
from pneumo_batch.core.variants import of_records
from pneumo_batch.rundir.reader import Run
from pneumo_batch.stages import localise

FINDING = report_runs.EVIL


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return report_runs.make_run(tmp_path_factory.mktemp("run"), kinds=(2, 1), regions=True)


def box_pixels(run, image_id):
    """The film's box drawn on a black film of its size, as the network would get it."""
    row = run.regions().set_index("image_id").loc[image_id]
    film = run.manifest().set_index("image_id").loc[image_id]
    canvas = np.zeros((film["height"], film["width"]), np.uint8)
    x, y = int(row["x"]), int(row["y"])
    canvas[y : y + int(row["height"]), x : x + int(row["width"])] = 255
    return run.preprocess().fitted(Image.fromarray(canvas)) > 127


def value(run, method, variant, image_id, measure):
    rows = run.localisation()
    same = rows["method"].isna() if method is None else rows["method"] == method
    found = rows[same & (rows["variant"] == variant) & (rows["image_id"] == image_id) & (rows["measure"] == measure)]
    assert len(found) == 1
    return found["value"].item()


def test_every_film_with_the_finding_and_a_box_is_measured_under_every_map(run):
    rows = run.localisation()
    tested = [film for film in run.manifest()["image_id"] if film.startswith("test/1/")]
    assert set(rows["image_id"]) == set(tested)
    names = {("grad_cam", v) for v in ("true_0", "true_1", "random_100", "cross_image")}
    names |= {("integrated_gradients", v) for _, v in names} | {(None, "mean_mask"), (None, "edge")}
    found = {(m if isinstance(m, str) else None, v) for m, v in zip(rows["method"], rows["variant"], strict=True)}
    assert found == names
    assert len(rows) == len(names) * len(tested) * 4


def test_values_are_the_measures_of_map_and_box(run):
    size = run.job.data.image_size
    for method, variant in (("grad_cam", "true_1"), ("integrated_gradients", "random_100")):
        ids, maps_Nhw = run.maps(method, variant)
        for image_id, map_hw in zip(ids, maps_Nhw, strict=True):
            if image_id.startswith("test/1/"):
                pair = metrics.resize(map_hw[None], size)[0], box_pixels(run, image_id)
                assert value(run, method, variant, image_id, "hit") == localisation.points_inside(*pair)
                assert value(run, method, variant, image_id, "auprc") == localisation.average_precision(*pair)
                assert value(run, method, variant, image_id, "iou") == localisation.otsu_overlap(*pair)
                assert value(run, method, variant, image_id, "positive_share") == localisation.positive_share(*pair)


def test_the_mean_mask_is_that_of_the_training_films(run):
    trained = [film for film in run.manifest()["image_id"] if film.startswith("train/1/")]
    mean = np.mean([box_pixels(run, film) for film in trained], axis=0)
    film = next(iter(run.localisation()["image_id"]))
    expected = localisation.average_precision(mean, box_pixels(run, film))
    assert value(run, None, "mean_mask", film, "auprc") == pytest.approx(expected)
    assert run.verdict["localisation"]["findings"][FINDING]["mean_mask_of"] == "training films"


def test_the_other_film_is_the_one_that_compare_crosses_it_with(run):
    table = run.maps_table([]).sort_by("image_id")
    ids, patients = table["image_id"].to_pylist(), table["patient_id"].to_pylist()
    partner = dict(zip(ids, pairs.partners(ids, patients, run.job.compare.partner_seed)[:, 0], strict=True))
    film = next(iter(run.localisation()["image_id"]))
    maps = [run.maps("integrated_gradients", name)[1][partner[film]] for name in ("true_0", "true_1")]
    expected = np.mean([localisation.average_precision(map_HW, box_pixels(run, film)) for map_HW in maps])
    assert value(run, "integrated_gradients", "cross_image", film, "auprc") == pytest.approx(expected)


def test_of_many_films_a_seeded_rule_takes_some(run, monkeypatch):
    monkeypatch.setattr(localise, "MOST_FILMS", 3)
    variants = of_records(run.model_record(name) for name in run.variants())
    (found,) = localise.measure(run.job, run, variants)
    every = sorted(film for film in run.manifest()["image_id"] if film.startswith("test/1/"))
    order = pairs.hash_order(every, run.job.compare.partner_seed)[:3]
    assert list(found.image_ids) == [every[i] for i in order]
    assert found.there == 6


def test_without_the_images_there_are_no_edges(run, tmp_path, monkeypatch):
    shutil.copytree(run.store.root, tmp_path / "run")
    moved = Run(tmp_path / "run")
    monkeypatch.setattr(type(moved.images), "read_bytes", _gone)
    variants = of_records(moved.model_record(name) for name in moved.variants())
    (found,) = localise.measure(moved.job, moved, variants)
    assert (None, "edge") not in found.values
    assert (None, "mean_mask") in found.values


def _gone(_roots, image_id):
    raise FileNotFoundError(image_id)


@pytest.mark.parametrize(
    ("target", "classes", "expected"),
    [
        ("positive", ["NORMAL", "MASS"], ["MASS"]),
        ("label", ["A", "B", "C"], ["A", "B", "C"]),
        ("Edema", ["NORMAL", "FINDING"], ["Edema"]),
    ],
)
def test_what_is_explained(target, classes, expected):
    job = tiny_job(attribution={"target": target})
    assert [one.finding for one in localise.explained(job, classes)] == expected
