"""docs/bring-your-own.md, run as it is written: its job files, its code, its commands; on generated films."""

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tomli_w
import torch
from helpers.command import command
from helpers.paths import DOCS
from helpers.tiny import tiny_job
from PIL import Image

from pneumo_batch import cli, pipeline
from pneumo_batch.core.data import phantom
from pneumo_batch.core.models import networks
from pneumo_batch.errors import JobError
from pneumo_batch.job import jobfile
from pneumo_batch.rundir.reader import Run

PAGE = DOCS / "bring-your-own.md"
# What makes the page's jobs small: their images, and how carefully they are attributed.
SMALL = ["data.image_size=64", "attribution.integrated_gradients.steps=4", "compare.resamples=100"]


def written(name):
    """A file of the page: a block whose first line is its name in a comment."""
    found = re.search(rf"```\w+\n# {re.escape(name)}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found, f"docs/bring-your-own.md has no {name}"
    return found[1]


def commands():
    return re.findall(r"^\$ (.*)$", PAGE.read_text(), re.MULTILINE)


def arguments(line):
    assert line in commands()
    return line.split()[1:]


def small(words):
    """The page's words, made small; workers of the session's cluster have another working directory."""
    root = f"data.root={Path('chest_xray').absolute()}"
    return [*words, *(part for value in [*SMALL, root] for part in ("--set", value))]


def call(words):
    return cli.cli.main(words, standalone_mode=False)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with films of a test split, that the job files find as chest_xray."""
    phantom.write(tmp_path / "films", train=8, test=10, seed=3, image_size=64)
    (tmp_path / "chest_xray").mkdir()
    (tmp_path / "films" / "test").rename(tmp_path / "chest_xray" / "test")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def as_a_user(words, environment):
    """What a command of the page leaves when it is called in another process, with a Ray of its own."""
    line = command(*small(words), "--run-dir", "runs/own")
    result = subprocess.run(line, capture_output=True, text=True, check=False, env=environment)
    assert result.returncode == 0, result.stderr
    return Run("runs/own")


def write(place, name):
    (place / name).write_text(written(name))


def checkpoint(path, seed, channels=3):
    torch.manual_seed(seed)
    model = networks.build("cnn5", image_size=64, channels=channels, outputs=1).eval()
    torch.save(model.state_dict(), path)
    return model


def test_the_notebooks_pair_gets_a_verdict_without_training(ray_cluster, place):
    write(place, "pair.toml")
    checkpoint(place / "pneumonia_cnn_model_15epochs.pth", 0)
    checkpoint(place / "pneumonia_CNN_model_random_label_epochs_15.pth", 1)
    assert call(small([*arguments("pneumo-batch run pair.toml"), "--run-dir", "runs/pair", "--until", "conclude"])) == 0
    run = Run("runs/pair")
    assert run.record["stages"]["train"]["counts"] == {"variants": 2, "trained": 0}
    found = run.verdict["methods"]["grad_cam"]
    assert found["verdict"] in ("inconclusive", "invalid")  # a network of random weights is at chance
    assert any("It was not measured whether cnn_random memorised" in line for line in found["caveats"])


def test_a_program_is_attributed_and_kept_with_the_run(ray_cluster, place):
    write(place, "program.toml")
    models = {}
    for seed, name in enumerate(["mine", "noise"]):
        torch.manual_seed(seed)
        models[name] = networks.build("cnn5", image_size=64, channels=1, outputs=1).eval()
        example = torch.zeros(2, 1, 64, 64)
        program = torch.export.export(models[name], (example,), dynamic_shapes=({0: torch.export.Dim.AUTO},))
        torch.export.save(program, place / f"{name}.pt2")
    words = [*arguments("pneumo-batch run program.toml"), "--run-dir", "runs/program", "--until", "attribute"]
    call(small(words))
    (place / "mine.pt2").unlink()
    run = Run("runs/program")
    for name, model in models.items():
        ids, maps_Nhw = run.maps("grad_cam", name)
        assert maps_Nhw.shape == (10, 4, 4)
        with torch.no_grad():
            wanted = model(run.inputs(ids, name))
            torch.testing.assert_close(run.model(name)(run.inputs(ids, name)), wanted)
        logits = run.maps_table([f"logit__{name}"]).sort_by("image_id")[f"logit__{name}"].to_numpy()
        np.testing.assert_allclose(logits, wanted[:, 0].numpy(), rtol=1e-4, atol=1e-5)


def test_a_program_cannot_be_trained(place):
    (place / "mine.pt2").write_bytes(b"never opened")
    job = tiny_job(network={"name": "mine.pt2"})
    with pytest.raises(
        JobError, match=r"network.name = 'mine.pt2': a file cannot be trained, as it has no fresh weights"
    ):
        pipeline.execute(job, "runs/none")


@pytest.mark.slow
def test_a_mixed_run_trains_what_is_not_brought(ray_cluster, tmp_path):
    """Two brought models with preprocessing of their own, and random ones trained by the job's recipe."""
    checkpoint(tmp_path / "a.pth", 0, channels=3)
    checkpoint(tmp_path / "b.pth", 1, channels=1)
    brought = [
        {"name": "a", "kind": "true", "checkpoint": str(tmp_path / "a.pth"), "channels": 3, "normalise": [0.5, 0.25]},
        {"name": "b", "kind": "true", "checkpoint": str(tmp_path / "b.pth")},
    ]
    job = tiny_job(train={"true_seeds": [], "random_seeds": [100], "max_epochs": 1}, variant=brought)
    run = pipeline.execute(job, str(tmp_path / "run"), until="conclude").run
    assert run.variants() == ["a", "b", "random_100"]
    assert {name: run.inputs(run.manifest()["image_id"][:1], name).shape[1] for name in run.variants()} == {
        "a": 3,
        "b": 1,
        "random_100": 1,
    }
    own, common = run.model_record("a")["preprocess"], run.model_record("random_100")["preprocess"]
    assert (own["mean"], own["std"]) == (0.5, 0.25)
    assert run.model_record("b")["preprocess"] == common
    logits = run.maps_table(["logit__a"]).sort_by("image_id")
    with torch.no_grad():
        wanted_N1 = run.model("a")(run.inputs(logits["image_id"].to_pylist(), "a"))
    np.testing.assert_allclose(logits["logit__a"].to_numpy(), wanted_N1[:, 0].numpy(), rtol=1e-4, atol=1e-5)
    kinds = run.scores().groupby("kind")["variant_a"].count()
    assert {"true_true", "true_random", "true_true_cross", "true_random_cross"} <= set(kinds.index)


@pytest.mark.slow
def test_training_starts_from_the_weights_it_is_given(ray_cluster, tmp_path):
    source = checkpoint(tmp_path / "start.pth", 5, channels=3).state_dict()
    job = tiny_job(
        network={"weights": str(tmp_path / "start.pth")},
        train={"true_seeds": [0], "random_seeds": [], "epochs": 1, "learning_rate": 1e-12},
    )
    run = pipeline.execute(job, str(tmp_path / "run"), until="train").run
    found = run.model("true_0").state_dict()
    torch.testing.assert_close(found["conv1.0.weight"], source["conv1.0.weight"].sum(1, keepdim=True))
    torch.testing.assert_close(found["fc.0.weight"], source["fc.0.weight"])
    other = job.model_copy(update={"network": job.network.model_copy(update={"name": "resnet18"})})
    with pytest.raises(JobError, match=r"network.weights: .*start\.pth: does not fit the network: .*conv1"):
        pipeline.execute(other, str(tmp_path / "other"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "densenet121"])
def test_torchvision_networks_go_the_whole_way(ray_cluster, tmp_path, name):
    found = next(line for line in commands() if f"network.name={name}" in line)
    overrides = found.split("--set ")[1:]
    sections = {"true_seeds": [0, 1], "random_seeds": [100], "epochs": 1, "max_epochs": 1, "batch_size": 8}
    path = tmp_path / "tiny.toml"
    path.write_text(tomli_w.dumps(tiny_job(train=sections).model_dump(mode="json", exclude_none=True)))
    job = jobfile.load(path, [text.strip() for text in overrides])
    assert job.network.name == name
    outcome = pipeline.execute(job, str(tmp_path / "run"))
    assert outcome.complete
    assert set(outcome.run.verdict["methods"]) == {"integrated_gradients", "grad_cam"}
    assert outcome.run.maps("grad_cam", "true_0")[1].shape == (14, 2, 2)


@pytest.mark.slow
def test_ones_own_method_and_metric_are_imported_on_the_workers(place):
    write(place, "own-maps.toml")
    write(place, "my_maps.py")
    for seed, name in enumerate(["mine", "noise"]):
        checkpoint(place / f"{name}.pth", seed, channels=1)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([".", os.environ.get("PYTHONPATH", "")])}
    words = arguments("PYTHONPATH=. pneumo-batch run own-maps.toml")[1:]
    run = as_a_user(words, environment)
    assert run.maps("my_maps:gradient", "mine")[1].shape == (10, 64, 64)
    scores = run.scores().astype({"metric": str})
    cosine = scores.loc[scores["metric"] == "my_maps:cosine", "score"]
    assert len(cosine) == len(scores) / 2
    assert cosine.between(-1, 1).all()


@pytest.mark.slow
def test_ones_own_network_is_imported_on_the_workers(place):
    """As a user runs it: another process, with a Ray of its own."""
    write(place, "own.toml")
    write(place, "my_networks.py")
    code = "import torch, my_networks\nfor seed, name in enumerate(['a', 'b', 'noise']):\n    torch.manual_seed(seed)\n"
    code += "    model = my_networks.resnet(image_size=64, channels=3, outputs=1)\n"
    code += "    torch.save({'model': model.state_dict()}, f'{name}.pth')"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([".", os.environ.get("PYTHONPATH", "")])}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    words = arguments("PYTHONPATH=. pneumo-batch run own.toml")[1:]
    run = as_a_user(words, environment)
    assert run.maps("grad_cam", "noise")[1].shape == (10, 2, 2)


# -------------------------------------------------------------------------------------------------------------- export


def exported(tiny_run, tmp_path, *words):
    call(["export", tiny_run.path, *words, "--out", str(tmp_path / "out")])
    with (tmp_path / "out" / "index.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sorted([*(row["file"] for row in rows), "index.csv"]) == sorted(
        path.name for path in (tmp_path / "out").iterdir()
    )
    return rows


def test_the_pages_exports_name_existing_options():
    for line in commands():
        if " export " in line:
            assert cli.cli.commands["export"].make_context("export", line.split()[2:])


def test_exported_arrays_are_the_maps_of_the_run(tiny_run, tmp_path):
    ids, maps_Nhw = tiny_run.maps("grad_cam", "true_1")
    words = ["--image", ids[3], "--method", "grad_cam", "--variant", "true_1", "--format", "npy"]
    (row,) = exported(tiny_run, tmp_path, *words)
    assert (row["image_id"], row["method"], row["variant"]) == (ids[3], "grad_cam", "true_1")
    np.testing.assert_array_equal(np.load(tmp_path / "out" / row["file"]), maps_Nhw[3])


def test_exported_volumes_are_the_maps_of_the_run(tiny_run, tmp_path):
    nibabel = pytest.importorskip("nibabel", reason="the extra pneumo-batch[nifti] is not installed")
    rows = exported(tiny_run, tmp_path, "--limit", "2", "--variant", "true_0", "--format", "nifti")
    assert len(rows) == 2 * 2
    for row in rows:
        ids, maps_Nhw = tiny_run.maps(row["method"], "true_0")
        found = nibabel.load(tmp_path / "out" / row["file"]).get_fdata()[:, :, 0].T
        np.testing.assert_array_equal(found, maps_Nhw[ids.index(row["image_id"])])


def test_exported_overlays_lie_on_the_film_and_need_no_ray(tiny_run, tmp_path):
    words = ["export", tiny_run.path, "--limit", "1", "--format", "png", "--out", str(tmp_path / "out")]
    code = f"import sys; from pneumo_batch import cli; cli.cli.main({words!r}, standalone_mode=False); "
    code += "assert not any(name.split('.')[0] == 'ray' for name in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    pictures = sorted((tmp_path / "out").glob("*.png"))
    assert len(pictures) == 2 * 3  # methods, variants
    assert {Image.open(path).size for path in pictures} == {(64, 64)}
    assert len({path.read_bytes() for path in pictures}) == 6


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--image", "test/none.jpeg"], r"no maps of image 'test/none.jpeg'; ids are .* e\.g\. test/"),
        (["--method", "grad_kam"], "no method 'grad_kam'; there are: integrated_gradients, grad_cam"),
        (["--variant", "true_7"], "no variant 'true_7'; there are: true_0, true_1, random_100"),
    ],
)
def test_what_the_run_does_not_have_is_named(tiny_run, tmp_path, words, message):
    with pytest.raises(ValueError, match=message):
        call(["export", tiny_run.path, *words, "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_nifti_is_an_extra(tiny_run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(ValueError, match=r"needs nibabel: pip install 'pneumo-batch\[nifti\]'"):
        call(["export", tiny_run.path, "--format", "nifti", "--out", str(tmp_path / "out")])


# ------------------------------------------------------------------------------------------------------ track and fetch


def test_a_run_is_tracked_once_in_a_local_store(tiny_run, tmp_path, monkeypatch, capsys):
    mlflow = pytest.importorskip("mlflow", reason="the extra pneumo-batch[mlflow] is not installed")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    call(["track", tiny_run.path, "--experiment", "films"])
    run_id = capsys.readouterr().out.split()[-1]
    client = mlflow.MlflowClient()
    found = client.get_run(run_id)
    assert found.info.status == "FINISHED"
    assert (found.data.params["train.epochs"], found.data.params["train.true_seeds"]) == ("2", "[0, 1]")
    verdict = tiny_run.verdict
    assert found.data.metrics["true_1.test.auroc"] == verdict["variants"]["true_1"]["test"]["auroc"]
    assert found.data.tags["verdict.grad_cam"] == verdict["methods"]["grad_cam"]["verdict"]
    wanted = verdict["methods"]["grad_cam"]["numbers"]["difference"]["value"]
    assert found.data.metrics["grad_cam.difference.value"] == wanted
    assert [item.path for item in client.list_artifacts(run_id)] == ["report", "verdict.json"]
    page = Path(client.download_artifacts(run_id, "report/index.html", str(tmp_path)))
    assert page.read_bytes() == (Path(tiny_run.path) / "report" / "index.html").read_bytes()
    call(["track", tiny_run.path, "--experiment", "films"])
    assert capsys.readouterr().out.split()[-1] == run_id
    assert len(client.search_runs([found.info.experiment_id])) == 1


def test_tracking_asks_for_a_place(tiny_run, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(ValueError, match="set MLFLOW_TRACKING_URI to the tracking server"):
        call(["track", tiny_run.path])


def test_fetch_without_a_network_is_one_line_and_exit_code_1(tmp_path):
    pytest.importorskip("kagglehub", reason="the extra pneumo-batch[fetch] is not installed")
    words = arguments("pneumo-batch data fetch data")
    proxy = "http://127.0.0.1:9"  # nothing listens there
    environment = {**os.environ, "HTTPS_PROXY": proxy, "https_proxy": proxy, "KAGGLEHUB_CACHE": str(tmp_path / "cache")}
    result = subprocess.run(
        command(*words),
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=tmp_path,
    )
    assert result.returncode == 1
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith(
        "pneumo-batch: https://www.kaggle.com/datasets/paultimothymooney/chest-xray-pneumonia: cannot be"
    )
