"""What goes to and comes from other programs, without a run: file names, NIfTI geometry, MLflow values, the counts."""

import csv
import dataclasses
import errno

import numpy as np
import pytest
from helpers import report_runs
from helpers.results import classified

from pneumo_batch import cli
from pneumo_batch.core.statistics import estimates, results
from pneumo_batch.errors import DataError, JobError, RunError
from pneumo_batch.integrations import export, kaggle, mlflow
from pneumo_batch.report.figures import overlays
from pneumo_batch.rundir.reader import Run


def test_file_names_are_safe_and_differ_with_the_id():
    name = export.file_name("test/NORMAL/IM-0001-0001.jpeg", "grad_cam", "true_0")
    # echo -n test/NORMAL/IM-0001-0001.jpeg | sha256sum
    assert name == "IM-0001-0001-7b2ca9cc.grad_cam.true_0"
    nasty = export.file_name("../../etc/pass wd\n", "module:function", "v")
    assert set("/\\ \n:").isdisjoint(nasty)
    assert export.file_name("a/x.png", "m", "v") != export.file_name("b/x.png", "m", "v")
    assert len(export.file_name("x" * 5000 + ".png", "m", "v")) < 120


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return Run(report_runs.make_run(tmp_path_factory.mktemp("exported"), classes=("NORMAL", "PNEUMONIA")).path)


def listed(folder):
    with (folder / "index.csv").open(encoding="utf-8") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def test_an_export_beside_an_earlier_one_lists_both(run, tmp_path):
    first, second = sorted(run.maps("grad_cam", "true_0")[0])[:2]
    export.export(run, export.Choice(images=(first,), methods=("grad_cam",), variants=("true_0",)), "npy", tmp_path)
    (before,) = listed(tmp_path).items()
    chosen = export.Choice(images=(first, second), methods=("grad_cam",), variants=("true_0",))
    assert export.export(run, chosen, "npy", tmp_path) == 2
    assert [row["image_id"] for row in listed(tmp_path).values()] == [first, second]
    assert before in listed(tmp_path).items()
    (tmp_path / before[0]).unlink()
    export.export(run, export.Choice(images=(second,), methods=("grad_cam",)), "npy", tmp_path)
    found = listed(tmp_path)
    assert before[0] not in found
    assert sorted([*found, "index.csv"]) == sorted(path.name for path in tmp_path.iterdir())


def test_an_export_leaves_another_table_as_it_is(run, tmp_path):
    (tmp_path / "index.csv").write_text("name,age\n")
    with pytest.raises(RunError, match=r"index\.csv: does not list an export; choose another folder"):
        export.export(run, export.Choice(limit=1), "npy", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["index.csv"]


def test_an_image_without_maps_is_told_from_one_that_is_unknown(run, tmp_path):
    with pytest.raises(RunError, match=r"no maps of image 'train/0/person0_0\.png': it was not attributed"):
        export.export(run, export.Choice(images=("train/0/person0_0.png",)), "npy", tmp_path)
    with pytest.raises(RunError, match=r"no maps of image 'x'; ids are those of the manifest"):
        export.export(run, export.Choice(images=("x",)), "npy", tmp_path)


def test_a_limit_beside_named_images_is_refused(run, tmp_path):
    words = ["export", run.path, "--image", "x", "--limit", "3", "--out", str(tmp_path / "out")]
    with pytest.raises(JobError, match=r"^--limit chooses images, and so does --image: leave one of them out$"):
        cli.cli.main(words, standalone_mode=False)


def test_a_nifti_volume_lies_where_its_pixels_lie():
    nibabel = pytest.importorskip("nibabel", reason="the extra pneumo-batch[nifti] is not installed")
    map_hw = np.arange(6, dtype=np.float32).reshape(2, 3)
    volume = export.nifti(map_hw, size=12)
    assert volume.shape == (3, 2, 1)
    assert volume.get_fdata()[2, 0, 0] == map_hw[0, 2]
    # columns are 4 input pixels wide and rows 6 high: the centres of the first cover pixels 0-3 and 0-5
    left, down, _, _ = volume.affine @ [0, 0, 0, 1]
    assert (left, down) == (-1.5, -2.5)
    left, down, _, _ = volume.affine @ [2, 1, 0, 1]
    assert (left, down) == (-(8 + 1.5), -(6 + 2.5))
    assert nibabel.aff2axcodes(volume.affine) == ("L", "P", "S")


def test_an_overlay_is_the_film_where_the_map_is_0_and_coloured_elsewhere():
    film_HW = np.array([[100, 100, 100, 100]], np.uint8)
    map_HW = np.array([[0.0, 2.0, -2.0, np.nan]])
    pixels_HW3 = np.asarray(overlays.blend(film_HW, map_HW, clip=2.0)).astype(int)
    assert pixels_HW3[0, 0].tolist() == pixels_HW3[0, 3].tolist() == [100, 100, 100]
    # matplotlib's RdBu_r ends at (103, 0, 31) and (5, 48, 97); 70 % of them and 30 % of the film
    assert pixels_HW3[0, 1].tolist() == [102, 30, 52]
    assert pixels_HW3[0, 2].tolist() == [34, 64, 98]


SHARE = estimates.Estimate(0.25, None, float("nan"), sd=estimates.Deviations(true=0.5))
RESULTS = results.Results(
    primary=results.Primary("magnitude", "region", "spearman"),
    threshold=0.5,
    methods={"users:map": results.MethodResult("sensitive", [], numbers=estimates.CellTest(images=7, share=SHARE))},
    variants={"true_0": classified("true", accuracy=0.5, auroc=0.75)},
    degenerate={"users:map/signed": {"true_0": 3}},
)


def test_what_mlflow_is_told_of_a_verdict():
    assert mlflow.metrics(RESULTS) == {
        "true_0.threshold": 0.5,
        "true_0.test.images": 7.0,
        "true_0.test.accuracy": 0.5,
        "true_0.test.auroc": 0.75,
        "true_0.test.threshold": 0.5,
        "users_map.share.value": 0.25,
        "users_map.share.sd.true": 0.5,
        "users_map.images": 7.0,
        "users_map.patients": 0.0,
    }
    assert mlflow.verdicts(RESULTS) == {"verdict.users_map": "sensitive"}


def test_what_mlflow_is_told_of_several_targets():
    second = {"users:map": results.MethodResult("insensitive", [], numbers=estimates.CellTest(images=5))}
    targets = {
        "A": results.TargetResult(RESULTS.methods, RESULTS.variants, {}),
        "B c": results.TargetResult(second, RESULTS.variants, {}),
    }
    numbers = results.SpecificityTest(images=4, share=estimates.Estimate(0.5))
    between = {"users:map": [results.Specificity(("A", "B c"), "inconclusive", [], numbers=numbers)]}
    found = dataclasses.replace(RESULTS, target="A", targets=targets, specificity=between)
    said = mlflow.metrics(found)
    assert said["users_map.images"] == said["target.A.users_map.images"] == 7
    assert said["target.B c.users_map.images"] == 5
    assert said["specificity.A.B c.users_map.share.value"] == 0.5
    assert mlflow.verdicts(found) == {
        "verdict.users_map": "sensitive",
        "verdict.users_map.A": "sensitive",
        "verdict.users_map.B c": "insensitive",
    }


@pytest.mark.parametrize(
    ("uri", "line"),
    [
        ("http://127.0.0.1:9", "no server answers at MLFLOW_TRACKING_URI (http://127.0.0.1:9): [Errno 111]"),
        ("https://me:secret@127.0.0.1:9/mlflow", "(https://127.0.0.1:9): [Errno 111]"),
        ("http://no-such-host.invalid", "(http://no-such-host.invalid): [Errno -"),
        ("http://127.0.0.1:99999", "(http://127.0.0.1:99999): Port out of range"),
    ],
)
def test_a_tracking_server_that_is_away_is_one_line(uri, line, monkeypatch):
    """MLflow itself tries for minutes."""
    pytest.importorskip("mlflow", reason="the extra pneumo-batch[mlflow] is not installed")
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(RunError) as caught:
        mlflow._client()
    assert line in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.fixture
def published(tmp_path):
    """The folders of the published set, with empty files for images."""
    root = tmp_path / "published"
    for (split, name), count in kaggle.COUNTS.items():
        folder = root / split / name
        folder.mkdir(parents=True)
        for number in range(count):
            (folder / f"IM-{number}.jpeg").touch()
        (folder / ".DS_Store").touch()
        (folder / "._IM-0.jpeg").touch()
    return root


def test_the_counts_are_those_of_the_publication():
    by_split = {
        split: sum(n for (s, _), n in kaggle.COUNTS.items() if s == split) for split in ("train", "val", "test")
    }
    assert by_split == {"train": 5216, "val": 16, "test": 624}


def test_a_whole_download_is_placed_once_and_a_broken_one_is_refused(published, tmp_path):
    kaggle.verify(published)
    target = tmp_path / "data" / "chest_xray"
    kaggle.place(published, target)
    assert len(list(target.rglob("*"))) == 5856 + 9  # images, and 3 + 6 folders; nothing of macOS
    assert kaggle.fetch(tmp_path / "data") == target  # it is there: nothing is asked of Kaggle
    (target / "test" / "NORMAL" / "IM-3.jpeg").unlink()
    with pytest.raises(
        DataError, match=r"chest_xray/test/NORMAL: 233 images instead of the published 234; delete the folder"
    ):
        kaggle.fetch(tmp_path / "data")


def test_without_a_network_the_manual_way_is_named(tmp_path, monkeypatch):
    """A proxy where nothing listens: no machine gets through."""
    pytest.importorskip("kagglehub", reason="the extra pneumo-batch[fetch] is not installed")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(OSError, match="fetch the archive by hand from that page, unzip it") as error:
        kaggle.fetch(tmp_path / "data")
    assert error.value.errno == errno.ENETUNREACH
    assert error.value.filename == "https://www.kaggle.com/datasets/paultimothymooney/chest-xray-pneumonia"
    assert not (tmp_path / "data").exists()


@pytest.fixture
def tracked(tmp_path, monkeypatch):
    """A concluded run of growing data, and MLflow's client of a folder."""
    mlflow_itself = pytest.importorskip("mlflow", reason="the extra pneumo-batch[mlflow] is not installed")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    made = report_runs.make_run(tmp_path / "run", classes=("NORMAL", "PNEUMONIA"))
    return made, mlflow_itself.MlflowClient()


def test_every_pass_of_growing_data_is_tracked_once(tracked):
    made, client = tracked
    ids = []
    for number in (1, 1, 2, 2, 3):
        made.update_record(**{"pass": number})
        ids.append(mlflow.track(Run(made.path), "films"))
    assert [ids.index(one) for one in ids] == [0, 0, 2, 2, 4]
    assert [client.get_run(one).data.tags["pneumo_batch.pass"] for one in ids] == ["1", "1", "2", "2", "3"]


def test_what_was_tracked_before_passes_had_a_tag_is_the_first(tracked):
    made, client = tracked
    first = mlflow.track(Run(made.path), "films")
    client.delete_tag(first, "pneumo_batch.pass")
    assert mlflow.track(Run(made.path), "films") == first
    made.update_record(**{"pass": 2})
    second = mlflow.track(Run(made.path), "films")
    assert second != first
