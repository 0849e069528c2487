import base64
import io

import numpy as np
import pytest
from helpers.report_runs import build, make_run
from PIL import Image

from pneumo_batch.report import selection
from pneumo_batch.report.figures import overlays
from pneumo_batch.report.sections import gallery
from pneumo_batch.report.source import Source
from pneumo_batch.rundir.integrity import sha256
from pneumo_batch.rundir.writer import RunWriter


def decoded(uri: str) -> np.ndarray:
    image = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
    return np.asarray(image.convert("RGB"))


def test_signed_layers_are_white_at_zero_and_clipped():
    map_HW = np.array([[0.0, 1.0], [-1.0, 5.0]])
    colours = decoded(overlays.layer(map_HW, 1.0, overlays.DIVERGING, 8))
    assert colours[0, 0].min() > 240
    assert colours[0, 1].tolist() == colours[1, 1].tolist() == [103, 0, 31]  # the ends of ColorBrewer's RdBu
    assert colours[1, 0].tolist() == [5, 48, 97]


def test_magnitude_layers_start_black_and_large_maps_are_averaged():
    map_HW = np.zeros((4, 4))
    map_HW[:2, :2] = [[2.0, 0.0], [0.0, 2.0]]
    colours = decoded(overlays.layer(map_HW, 1.0, overlays.SEQUENTIAL, 2))
    assert colours.shape == (2, 2, 3)
    assert colours[1, 1].tolist() == [0, 0, 4]  # inferno from its first colour to its last
    assert colours[0, 0].tolist() == [252, 255, 164]


def test_images_are_chosen_by_the_rules_named(full):
    run, _, _, _ = full
    source = Source(run)
    chosen = selection.choose(source)
    scores, primary = run.scores(), run.verdict["primary"]
    for key in ("view", "scale", "metric"):
        scores = scores[scores[key] == primary[key]]
    scores = scores[(scores["kind"] == "true_random") & (scores["method"] == "grad_cam")]
    means = scores.groupby("image_id")["score"].mean().sort_values()
    least = [i for i, rules in chosen.items() if "Grad-CAM: true and random maps least alike" in rules]
    most = [i for i, rules in chosen.items() if "Grad-CAM: true and random maps most alike" in rules]
    assert sorted(least) == sorted(means.index[:4])
    assert sorted(most) == sorted(means.index[-4:])


def test_scores_below_a_map_are_means_over_true_variants(full):
    run, _, _, _ = full
    source = Source(run)
    image_id = source.attributed["image_id"][0].as_py()
    found = gallery._mean_scores(source.scores_of([image_id]), source.true)
    rows = run.scores().query("image_id == @image_id and method == 'grad_cam' and view == 'signed'")
    rows = rows.query("scale == 'pixel' and metric == 'pearson'")
    test = rows[(rows["kind"] == "true_random") & (rows["variant_b"] == "random_100")]["score"]
    with_true_1 = (rows["variant_a"] == "true_1") | (rows["variant_b"] == "true_1")
    ceiling = rows[(rows["kind"] == "true_true") & with_true_1]["score"]
    assert found[image_id, "grad_cam", "random_100"]["signed", "pixel", "pearson"] == pytest.approx(test.mean())
    assert found[image_id, "grad_cam", "true_1"]["signed", "pixel", "pearson"] == pytest.approx(ceiling.mean())


def test_a_run_whose_films_are_gone_keeps_the_gallery_it_had(tmp_path):
    run, page, before, _ = build(make_run(tmp_path, kinds=(1, 1), methods=("grad_cam",)))
    assert not [line for line in page.text if "cannot be shown" in line]
    (tmp_path / "images").rename(tmp_path / "moved")
    again = RunWriter(run.path)
    kept = again.store.read_bytes("report/films.parquet")
    for _ in range(2):
        again.checksums.drop(["report"])
        _, page, after, _ = build(again)
        again.checksums.seal("report")
        assert again.checksums.read()["report"]["report/films.parquet"] == (sha256(kept),)
        assert again.store.read_bytes("report/films.parquet") == kept
        films = [line for line in after.splitlines() if line.startswith(".film-")]
        assert films == [line for line in before.splitlines() if line.startswith(".film-")]
        assert len(films) == len([one for one in page.of("article") if "case" in one["class"]])
        (note,) = [
            line for line in page.text if line.endswith("The films here are those of an earlier report of this run.")
        ]
        assert note.startswith("The images cannot be shown: ")
