"""What `data check` says of a set that the default job could not use."""

import functools
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pydicom
import pytest
from helpers.film_killers import DeadlyFiles
from helpers.paths import DOCS
from PIL import Image
from pyarrow import fs as pafs

from pneumo_batch import cli
from pneumo_batch.cli import data_check
from pneumo_batch.core.data.roots import Roots
from pneumo_batch.errors import DataError
from pneumo_batch.job.schema import Data, Job
from pneumo_batch.rundir.locations import open_roots
from pneumo_batch.stages import index


def write(root, *splits):
    for k, split in enumerate(splits):
        for place in (f"{split}/A/{k}.png", f"{split}/B/9{k}.png"):
            (root / place).parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (64, 64), len(place) + 9 * k).save(root / place)
    return str(root)


@pytest.mark.parametrize(
    ("splits", "lines"),
    [
        (("train", "val"), ["no images in test: the default job needs train and test"]),
        (("test",), ["no images in train: the default job needs train and test"]),
        (("val",), ["no images in train and test: the default job needs train and test"]),
        (("train", "test"), []),
    ],
)
def test_a_missing_split_is_a_warning(tmp_path, splits, lines):
    found = data_check.audit(Data(root=write(tmp_path, *splits)))
    assert [line for line in found.warnings if "default job" in line] == lines


def test_a_list_without_a_split_of_the_job_is_told_so(tmp_path):
    films = Path(write(tmp_path, "train", "test"))
    rows = [f"{path.relative_to(films)},{path.parent.name},{path.parts[-3]}" for path in films.rglob("*.png")]
    (tmp_path / "images.csv").write_text("\n".join(["path,label,split", *rows]))
    data = {"root": str(films), "manifest": str(tmp_path / "images.csv")}
    job = Job(name="x", data=data, attribution={"splits": ["val"]})
    with pytest.raises(DataError, match=r"images\.csv: names no images of split val in its column split"):
        index.discover(job, open_roots(job.data.root))


def test_a_list_in_place_of_the_folder_is_told_where_it_goes(tmp_path):
    (tmp_path / "images.csv").write_text("path,label,split\n")
    with pytest.raises(DataError, match=r"images\.csv: a file, not a folder; for a list .* --manifest .*images\.csv$"):
        data_check.audit(Data(root=str(tmp_path / "images.csv")))


def test_the_first_commands_of_the_page_on_published_sets_work(tmp_path, monkeypatch, capsys):
    page = (DOCS / "datasets.md").read_text(encoding="utf-8")
    commands = re.findall(r"^\$ pneumo-batch (data (?:demo|check) .*)$", page, re.MULTILINE)[:2]
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    assert [cli.cli.main(shlex.split(line, comments=True), standalone_mode=False) or 0 for line in commands] == [0, 0]
    assert "Infiltration" in capsys.readouterr().out


def test_a_film_that_ends_the_process_is_rejected_and_no_other(tmp_path, monkeypatch, capfd):
    """What a fault of a C library does, here that of a file system."""
    film = Path(write(tmp_path, "train", "test")) / "train" / "A" / "0.png"
    film.with_name("dies.png").write_bytes(film.read_bytes())
    deadly = pafs.PyFileSystem(pafs.FSSpecHandler(DeadlyFiles()))
    monkeypatch.setattr(data_check, "open_roots", lambda root: Roots.one(deadly, root))
    found = data_check.audit(Data(root=str(tmp_path)))
    assert found.images == 4
    named = "1 of 5 images rejected: train/A/dies.png: the process that worked on it died, 3 times"
    assert named in found.warnings
    assert capfd.readouterr() == ("", "")


def test_a_real_film_that_ends_the_process_is_rejected_and_no_other(tmp_path):
    """A JPEG-LS image that says it has 198 bits a sample: gdcm 3.2 throws where nothing can catch it."""
    sound = (Path(pydicom.__file__).parent / "data" / "test_files" / "MR_small_jpeg_ls_lossless.dcm").read_bytes()
    frame_header = bytes.fromhex("ffd8 fff7 000b 10")
    assert sound.count(frame_header) == 1
    folder = Path(write(tmp_path, "train", "test")) / "train" / "A"
    (folder / "sound.dcm").write_bytes(sound)
    (folder / "deadly.dcm").write_bytes(sound.replace(frame_header, frame_header[:-1] + bytes([198])))
    found = data_check.audit(Data(root=str(tmp_path)))
    assert found.images == 5
    (named,) = (line for line in found.warnings if "rejected" in line)
    assert named.startswith("1 of 6 images rejected: train/A/deadly.dcm: ")


def test_ctrl_c_ends_it_at_once(tmp_path):
    film = Path(write(tmp_path / "films", "train", "test")) / "train" / "A" / "0.png"
    Image.effect_noise((2048, 2048), 60).save(film)
    for number in range(5000):
        os.link(film, film.with_name(f"again-{number}.png"))
    line = [sys.executable, "-m", "pneumo_batch", "data", "check", str(tmp_path / "films")]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    # a shell's background job, as this test may be one, ignores Ctrl-C, and so would what it starts
    allowed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(line, **options, preexec_fn=allowed) as command:
        children = []
        while not any("local_pool" in " ".join(child.cmdline()) for child in children):
            assert command.poll() is None
            time.sleep(0.01)
            children = psutil.Process(command.pid).children()
        os.killpg(command.pid, signal.SIGINT)  # as a terminal does
        assert command.communicate(timeout=60) == (
            "",
            "\npneumo-batch: interrupted; the same command continues the run\n",
        )
    assert command.returncode == 130
    assert not psutil.wait_procs(children, timeout=10)[1]
