"""What people feed a tool by mistake, one row a case: what becomes of it, and the line they read.

Nothing here starts a cluster of its own; what can be known early has to be known before one is needed.
"""

import io
import json
import os
import pickle
import shutil
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import tomli_w
import torch
from helpers import probes
from helpers.tiny import TINY, lean_job, tiny_job
from PIL import Image

from pneumo_batch import cli, pipeline
from pneumo_batch.cli import data_check
from pneumo_batch.core.data import phantom
from pneumo_batch.core.models import networks
from pneumo_batch.errors import DataError
from pneumo_batch.job import jobfile
from pneumo_batch.job.schema import Data

GRAY = np.linspace(0, 255, 64 * 64).reshape(64, 64)


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    root = tmp_path_factory.mktemp("films") / "films"
    phantom.write(root, train=12, test=8, seed=3, image_size=64)
    return root


@pytest.fixture
def root(films, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(films, tmp_path / "films")


# -------------------------------------------------------------------------------------------------------- single images


def encoded(values, form, mode=None, **options):
    file = io.BytesIO()
    image = values if isinstance(values, Image.Image) else Image.fromarray(values)
    (image.convert(mode) if mode else image).save(file, form, **options)
    return file.getvalue()


def exif(orientation):
    found = Image.Exif()
    found[0x0112] = orientation
    return found


L8 = GRAY.astype(np.uint8)
JPEG = encoded(L8, "JPEG")
FRAMES = [Image.fromarray(L8), Image.fromarray(255 - L8)]
# what becomes of the file x.<suffix>: the mode in the manifest, or a part of the reason in the quarantine
IMAGES = {
    "truncated": (JPEG[: len(JPEG) // 2], "jpeg", "truncated file"),
    "zero bytes": (b"", "jpeg", "empty file"),
    "text named jpeg": (b"Dear sir or madam", "jpeg", "not an image"),
    "html named png": (b"<html><body>404</body></html>", "png", "not an image"),
    "CMYK": (encoded(L8, "JPEG", "CMYK"), "jpeg", "CMYK"),
    "RGBA": (encoded(L8, "PNG", "RGBA"), "png", "RGBA"),
    "palette": (encoded(L8, "PNG", "P"), "png", "P"),
    "gray with alpha": (encoded(L8, "PNG", "LA"), "png", "LA"),
    "one bit": (encoded(L8, "PNG", "1"), "png", "1"),
    "16 bit": (encoded((GRAY * 257).astype(np.uint16), "PNG"), "png", "I;16"),
    "float": (encoded((GRAY / 255).astype(np.float32), "TIFF"), "tiff", "F"),
    "float beyond 1": (encoded(GRAY.astype(np.float32), "TIFF"), "tiff", "expected 0 to 1"),
    "EXIF rotation": (encoded(L8, "JPEG", exif=exif(6)), "jpeg", "L"),
    "animated": (encoded(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:]), "gif", "2 frames"),
    "several pages": (encoded(FRAMES[0], "TIFF", save_all=True, append_images=FRAMES[1:]), "tiff", "2 frames"),
    "bomb": (lambda: encoded(Image.new("1", (30000, 30000)), "PNG"), "png", "too large"),  # takes two seconds to make
    "1 x N": (encoded(np.zeros((1, 500), np.uint8), "PNG"), "png", "L"),
    "all black": (encoded(np.zeros((64, 64), np.uint8), "PNG"), "png", "L"),
}


@pytest.mark.parametrize("case", IMAGES)
def test_an_odd_image_is_used_or_quarantined_with_the_reason(case, root):
    data, suffix, expected = IMAGES[case]
    (root / "test" / "NORMAL" / f"x.{suffix}").write_bytes(data() if callable(data) else data)
    found = data_check.audit(Data(root=str(root)))
    assert found.images + sum(found.quarantined.values()) == 21
    if found.quarantined:
        assert len(found.quarantined) == 1
        assert expected in next(iter(found.quarantined))
    else:
        assert expected in found.modes["NORMAL"]


@pytest.mark.parametrize(
    "name", ["röntgen Ω 胸部.jpeg", "a b  c.jpeg", 'it\'s "quoted".jpeg', "x" * 240 + ".jpeg", "-rf.jpeg", "50%.JPEG"]
)
def test_odd_names_are_names(name, root):
    (root / "test" / "NORMAL" / name).write_bytes(JPEG)
    assert data_check.audit(Data(root=str(root))).images == 21


def test_a_file_larger_than_memory_is_quarantined(root):
    with (root / "test" / "NORMAL" / "x.png").open("wb") as file:
        file.truncate(1 << 40)  # of which the disk holds nothing
    assert data_check.audit(Data(root=str(root))).quarantined == {"too large: 1099511627776 bytes": 1}


def test_a_link_out_of_the_root_is_not_followed(root, tmp_path):
    (tmp_path / "secret.jpeg").write_bytes(JPEG)
    (root / "test" / "NORMAL" / "link.jpeg").symlink_to(tmp_path / "secret.jpeg")
    found = data_check.audit(Data(root=str(root)))
    assert found.images == 20
    assert list(found.quarantined) == ["a link that leaves the data root"]


def test_a_loop_of_links_ends(root):
    (root / "test" / "NORMAL" / "loop").symlink_to(root / "test" / "NORMAL")
    (root / "test" / "NORMAL" / "self.jpeg").symlink_to(root / "test" / "NORMAL" / "self.jpeg")
    found = data_check.audit(Data(root=str(root)))
    assert found.images == 20


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read anything")
def test_an_unreadable_file_is_quarantined(root):
    path = root / "test" / "NORMAL" / "locked.jpeg"
    path.write_bytes(JPEG)
    path.chmod(0)
    assert "Permission denied" in next(iter(data_check.audit(Data(root=str(root))).quarantined))


# ------------------------------------------------------------------------------------------------------------ data sets


def remove(path):
    shutil.rmtree(path)


def rename_class(root):
    (root / "test" / "PNEUMONIA").rename(root / "test" / "PNEUMONIE")


def one_class(root):
    remove(root / "train" / "PNEUMONIA")
    remove(root / "test" / "PNEUMONIA")


def empty_class(root):
    remove(root / "test" / "PNEUMONIA")
    (root / "test" / "PNEUMONIA").mkdir()


def same_in_two(first, second):
    def spoil(root):
        path = next((root / first).iterdir())
        shutil.copy(path, root / second / "copy.jpeg")

    return spoil


DATA = {
    "no such folder": (lambda root: remove(root), "no such folder"),
    "empty folder": (lambda root: (remove(root), root.mkdir()), "no images"),
    "no train split": (lambda root: remove(root / "train"), "train"),
    "no test split": (lambda root: remove(root / "test"), "test"),
    "class names differ between splits": (rename_class, "PNEUMONIE"),
    "one class": (one_class, "NORMAL"),
    "a class without images": (empty_class, "PNEUMONIA"),
    "the same image in two classes": (same_in_two("train/NORMAL", "train/PNEUMONIA"), "copy.jpeg"),
    "the same image in two splits": (same_in_two("train/NORMAL", "test/NORMAL"), "copy.jpeg"),
}


@pytest.mark.parametrize("case", DATA)
def test_unusable_data_end_in_one_line(case, root, ray_cluster, tmp_path):
    spoil, expected = DATA[case]
    spoil(root)
    with pytest.raises(DataError, match=expected) as caught:
        pipeline.execute(tiny_job(data={"root": str(root)}), str(tmp_path / "run"), until="index")
    assert "\n" not in str(caught.value)
    assert str(root) in str(caught.value)


def test_the_same_image_in_two_splits_may_be_allowed(root, ray_cluster, tmp_path):
    same_in_two("train/NORMAL", "test/NORMAL")(root)
    job = tiny_job(data={"root": str(root), "allow_leaks": True})
    outcome = pipeline.execute(job, str(tmp_path / "run"), until="index")
    assert outcome.run.record["stages"]["index"]["counts"] == {"images": 21, "indexed": 21, "quarantined": 0}


# --------------------------------------------------------------------------------------------- job files, checkpoints


def call(monkeypatch, capsys, *arguments):
    """The command in this process: (exit code, what it wrote to stderr)."""
    monkeypatch.setattr(sys, "argv", ["pneumo-batch", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return caught.value.code, capsys.readouterr().err.strip()


JOBS = {
    "no TOML": ("name = ", "cannot read the job file"),
    "no name": ("[data]\nroot = 'x'", "name"),
    "a name with a slash": ("name = 'a/b'", "name"),
    "unknown section": ("name = 'j'\n[dta]\nroot = 'x'", "did you mean data?"),
    "unknown field": ("name = 'j'\n[train]\nepoch = 1", "did you mean epochs?"),
    "text for a number": ("name = 'j'\n[train]\nepochs = 'ten'", "train.epochs"),
    "a negative number": ("name = 'j'\n[train]\nlearning_rate = -1", "train.learning_rate"),
    "not a number": ("name = 'j'\n[train]\nlearning_rate = nan", "train.learning_rate"),
    "infinite": ("name = 'j'\n[compare]\nthreshold = inf", "compare.threshold"),
    "the margin of the first rule": ("name = 'j'\n[compare]\nmargin = 0.05", "compare: margin is gone: a verdict no"),
    "a size the network cannot take": ("name = 'j'\n[data]\nimage_size = 100", "data.image_size"),
    "a seed twice": ("name = 'j'\n[train]\ntrue_seeds = [1]\nrandom_seeds = [1]", "share or repeat a seed"),
    "a method twice": ("name = 'j'\n[attribution]\nmethods = ['grad_cam', 'grad_cam']", "attribution.methods"),
    "an unknown method": ("name = 'j'\n[attribution]\nmethods = ['grad_cma']", "did you mean grad_cam?"),
    "an unknown metric": ("name = 'j'\n[compare]\nmetrics = ['sperman']", "compare.metrics"),
    "an unknown network": ("name = 'j'\n[network]\nname = 'resnet19'", "resnet18"),
    "an unknown layer": ("name = 'j'\n[attribution]\ngrad_cam = { layer = 'conv9' }", "conv9"),
    "an unknown target": ("name = 'j'\n[attribution]\ntarget = 'FLU'", "FLU"),
    "a module that is not there": ("name = 'j'\n[network]\nname = 'nowhere:net'", "nowhere"),
    "a checkpoint that is not there": (
        "name = 'j'\n[[variant]]\nname = 'm'\nkind = 'true'\ncheckpoint = 'gone.pth'",
        "variant.m: cannot read checkpoint gone.pth",
    ),
}


@pytest.mark.parametrize("case", JOBS)
def test_a_wrong_job_file_is_one_line_and_exit_code_2(case, monkeypatch, capsys, tmp_path):
    text, expected = JOBS[case]
    path = tmp_path / "job.toml"
    path.write_text(text)
    code, message = call(monkeypatch, capsys, "run", path, "--run-dir", tmp_path / "run")
    assert code == 2, message
    assert expected in message
    assert "\n" not in message


class Evil:
    def __reduce__(self):
        return (os.mkdir, ("owned",))


def state(size=64, change=lambda tensors: None):
    torch.manual_seed(0)
    tensors = networks.build("cnn5", image_size=size, channels=1, outputs=1).state_dict()
    change(tensors)
    return tensors


def torch_bytes(value):
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


CHECKPOINTS = {
    "another shape": (lambda: torch_bytes(state(size=96)), "fc.0.weight"),
    "a pickle": (lambda: pickle.dumps(Evil()), "variant.mine"),
    "a pickle inside a torch file": (lambda: torch_bytes({"state_dict": Evil()}), "variant.mine"),
    "NaN weights": (lambda: torch_bytes(state(change=lambda s: s["conv1.0.weight"].fill_(float("nan")))), "conv1"),
    "text": (lambda: b"weights", "variant.mine"),
    "nothing": (lambda: b"", "variant.mine"),
}


def brought(films, **sections):
    values = {
        **TINY,
        "data": {"root": str(films), "image_size": 64, "normalise": [0.4, 0.3]},
        "train": {"true_seeds": [], "random_seeds": []},
        "variant": [{"name": "mine", "kind": "true", "checkpoint": "mine.pth"}],
    }
    return tomli_w.dumps(values | sections)


@pytest.mark.parametrize("words", [("--run-dir", "run"), ("--dry-run",)], ids=["run", "dry run"])
@pytest.mark.parametrize("case", CHECKPOINTS)
def test_a_wrong_checkpoint_is_one_line_before_anything_starts(case, words, films, monkeypatch, capsys, tmp_path):
    make, expected = CHECKPOINTS[case]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.pth").write_bytes(make())
    (tmp_path / "job.toml").write_text(brought(films))
    code, message = call(monkeypatch, capsys, "run", "job.toml", *words)
    assert code == 2, message
    assert expected in message
    assert "mine.pth" in message
    assert "\n" not in message
    assert not (tmp_path / "owned").exists()
    assert not (tmp_path / "run" / "manifest").exists()


PARTS = {
    "dropout that never stops": ({"network": {"name": "helpers.probes:Noisy"}}, "draws random numbers in eval mode"),
    "batch statistics": ({"network": {"name": "helpers.probes:of_the_batch"}}, "depends on the images beside it"),
    "a map of one number": (
        {
            "network": {"name": "resnet18"},
            "data": {"root": "phantom", "image_size": 32},
            "compare": {"metrics": ["pearson"], "primary": {"metric": "pearson"}},
        },
        "grad_cam: maps are 1 x 1 at data.image_size = 32, nothing can be compared",
    ),
    "no rule for its layers": (
        {"network": {"name": "efficientnet_b0"}, "attribution": {"methods": ["deep_lift"]}},
        "deep_lift is not defined for this network",
    ),
    "no rule for its activations": (
        {"network": {"name": "mobilenet_v2"}, "attribution": {"methods": ["guided_backprop"]}},
        "this network has hardtanh",
    ),
}


@pytest.mark.parametrize("words", [("--run-dir", "run"), ("--dry-run",)], ids=["run", "dry run"])
@pytest.mark.parametrize("case", PARTS)
def test_parts_that_do_not_fit_are_one_line_before_anything_starts(case, words, monkeypatch, capsys, tmp_path):
    sections, expected = PARTS[case]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.toml").write_text(tomli_w.dumps(TINY | sections))
    code, message = call(monkeypatch, capsys, "run", "job.toml", *words)
    assert code == 2, message
    assert expected in message
    assert "\n" not in message


def test_a_network_that_gives_probabilities_is_warned_of(films, ray_cluster, tmp_path):
    torch.manual_seed(0)
    variants = []
    for name, network in (("certain", probes.Probability), ("logits", probes.Witness)):
        path = tmp_path / f"{name}.pth"
        path.write_bytes(torch_bytes(network(image_size=64, channels=1, outputs=1).state_dict()))
        variants.append((f"helpers.probes:{network.__name__}", {"name": name, "kind": "true", "checkpoint": str(path)}))
    warnings = {}
    for network, variant in variants:
        methods = {"methods": ["integrated_gradients"]}
        values = tomllib.loads(brought(films, network={"name": network}, variant=[variant], attribution=methods))
        run = pipeline.execute(jobfile.parse(values, "test"), str(tmp_path / variant["name"]), until="train").run
        warnings[variant["name"]] = [
            event["message"]
            for event in map(json.loads, (Path(run.path) / "events.jsonl").read_text().splitlines())
            if event["event"] == "warning" and event["stage"] == "train"
        ]
    assert warnings["logits"] == []
    assert len(warnings["certain"]) == 1
    assert warnings["certain"][0].startswith("variant.certain: all 20 outputs lie in 0 to 1: if the network ends in a")


def test_a_checkpoint_in_ones_home_is_found(films, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.pth").write_bytes(torch_bytes(state()))
    path = tmp_path / "job.toml"
    path.write_text(brought(films, variant=[{"name": "mine", "kind": "true", "checkpoint": "~/mine.pth"}]))
    code, message = call(monkeypatch, capsys, "run", path, "--dry-run")
    assert (code, message) == (0, "")


def flat(bias):
    """Zeros but for the last bias: networks that differ and whose every map is zero."""
    tensors = state(change=lambda s: [tensor.zero_() for tensor in s.values()])
    list(tensors.values())[-1].fill_(bias)
    return tensors


def test_a_constant_model_is_an_invalid_test_and_not_a_crash(films, ray_cluster, tmp_path):
    variants = []
    kinds = (("flat_a", "true"), ("flat_b", "true"), ("flat_c", "random"), ("flat_d", "random"))
    for bias, (name, kind) in enumerate(kinds):
        path = tmp_path / f"{name}.pth"
        path.write_bytes(torch_bytes(flat(bias)))
        variants.append({"name": name, "kind": kind, "checkpoint": str(path)})
    values = {
        "data": {"root": str(films), "image_size": 64, "normalise": [0.4, 0.3]},
        "train": {"true_seeds": [], "random_seeds": []},
        "variant": variants,
    }
    outcome = pipeline.execute(lean_job(**values), str(tmp_path / "run"))
    assert outcome.complete
    scores = outcome.run.scores()
    of_models = scores[scores["kind"].isin(["true_true", "true_random", "random_random"])]
    assert of_models["degenerate"].all()
    found = outcome.run.verdict["methods"]
    assert {method["verdict"] for method in found.values()} == {"invalid"}


def test_a_film_that_no_network_answers_is_named_and_left_out(root, ray_cluster, tmp_path, capsys):
    """Flat films, one to train on and one to test on: networks that standardise each film give NaN."""
    odd = ["test/NORMAL/black.png", "train/NORMAL/white.png"]
    for image_id, value in zip(odd, (0, 255), strict=True):
        Image.new("L", (64, 64), value).save(root / image_id)
    variants = []
    for seed, (name, kind) in enumerate((("a", "true"), ("b", "true"), ("n", "random"))):
        torch.manual_seed(seed)
        network = probes.standardising(image_size=64, channels=1, outputs=1)
        (tmp_path / f"{name}.pth").write_bytes(torch_bytes(network.state_dict()))
        variants.append({"name": name, "kind": kind, "checkpoint": str(tmp_path / f"{name}.pth")})
    values = {
        "data": {"root": str(root), "image_size": 64, "normalise": [0.4, 0.3], "max_bad": 0.2},
        "network": {"name": "helpers.probes:standardising"},
        "train": {"true_seeds": [], "random_seeds": []},
        "attribution": {"rows_per_file": 1, "integrated_gradients": {"steps": 4}, "grad_cam": {"layer": "1"}},
        "variant": variants,
    }
    run = pipeline.execute(lean_job(**values), str(tmp_path / "run"), until="conclude").run
    rejected = run.quarantine()
    assert rejected[["image_id", "stage"]].to_numpy().tolist() == [[odd[0], "attribute"]]
    assert rejected["reason"].item() == "the network a gives nan for it"
    assert run.record["counts"] == {"images": 22, "quarantined": 1, "attributed": 8}
    for variant in "abn":
        predicted = run.store.read_table(f"models/{variant}/predictions.parquet")["image_id"].to_pylist()
        assert sorted([*predicted, *odd]) == run.manifest()["image_id"].tolist()
        assert run.verdict["variants"][variant]["test"]["images"] == 8
    said = capsys.readouterr().err
    assert "1 of 9 images are left out: test/NORMAL/black.png: the network a gives nan for it" in said
    assert "2 of 22 images are left out of predictions and maps: test/NORMAL/black.png: the network a gives" in said
    assert "nearly constant: 2 of 22 images" in said
