"""Where Ray may write: lengths counted by hand, and one real start where neither TMPDIR nor HOME will do."""

import os
import stat
import subprocess
import sys

import pytest

from pneumo_batch.errors import JobError
from pneumo_batch.execution import places

# 107 bytes are a socket's path on Linux; "/ray/session_2026-11-26_11-04-00_123456_1234567/sockets/plasma_store" is 68.
ROOM = 39
NOWHERE = "/dev/null/home"  # which not even root can make

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="lengths and folders of Linux")


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    for name in ("RAY_TMPDIR", "TMPDIR", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", ["TMPDIR", "RAY_TMPDIR"])
def test_a_folder_with_room_for_sockets_is_left_alone(name, monkeypatch, capsys):
    assert places.temporary_folder() is None
    monkeypatch.setenv(name, "/" + "x" * (ROOM - 1))
    assert places.temporary_folder() is None
    monkeypatch.setenv(name, "/" + "x" * ROOM)
    assert places.temporary_folder() == "/tmp/ray"
    assert capsys.readouterr().err == (
        f"warning: {name} is 40 bytes long and Ray's sockets leave room for 39: its files go to /tmp/ray; RAY_TMPDIR"
        " chooses another folder\n"
    )


def test_bytes_count_and_not_letters_and_rays_own_setting_comes_first(monkeypatch):
    monkeypatch.setenv("TMPDIR", "/" + "ü" * 20)
    assert places.temporary_folder() == "/tmp/ray"
    monkeypatch.setenv("RAY_TMPDIR", "/scratch")
    assert places.temporary_folder() is None


def test_where_no_short_folder_can_be_written_it_is_one_line(monkeypatch):
    monkeypatch.setenv("TMPDIR", "/" + "x" * 50)
    monkeypatch.setattr(places, "_SHORT", NOWHERE)
    with pytest.raises(JobError) as error:
        places.temporary_folder()
    assert str(error.value) == (
        f"TMPDIR is 51 bytes long and Ray's sockets leave room for 39, and {NOWHERE}/ray is not writable: set"
        " RAY_TMPDIR or TMPDIR to a shorter folder"
    )


def test_a_token_is_made_where_ray_could_not_keep_one(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert places.token() is None
    monkeypatch.setenv("HOME", NOWHERE)
    first, second = places.token(), places.token()
    assert first != second
    assert len(bytes.fromhex(first)) == len(bytes.fromhex(second)) == 32


@pytest.mark.parametrize(
    ("name", "value"), [("RAY_AUTH_MODE", "disabled"), ("RAY_AUTH_TOKEN", "mine"), ("RAY_AUTH_TOKEN_PATH", "/mine")]
)
def test_a_token_or_a_mode_that_was_set_stays(monkeypatch, name, value):
    monkeypatch.setenv("HOME", NOWHERE)
    monkeypatch.setenv(name, value)
    assert places.token() is None


def test_a_token_that_can_be_read_in_a_home_that_cannot_be_written_is_used(monkeypatch, tmp_path):
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("known")
    (tmp_path / ".ray" / "auth_token").chmod(stat.S_IRUSR)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert places.token() is None


@pytest.mark.slow
def test_ray_starts_with_a_long_tmpdir_and_without_a_home(tmp_path):
    folder = tmp_path / ("x" * 50)
    folder.mkdir()
    code = "from pneumo_batch.job import schema\nfrom pneumo_batch.execution import cluster\n"
    code += "with cluster.session(schema.Cluster()):\n    import ray\n"
    code += "    found = ray.get(ray.remote(lambda: 2 + 2).remote())\nprint(found)"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"TMPDIR": str(folder), "HOME": NOWHERE}
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    length = len(str(folder))
    assert (ended.returncode, ended.stdout) == (0, "4\n"), ended.stderr
    assert ended.stderr == (
        f"warning: TMPDIR is {length} bytes long and Ray's sockets leave room for 39: its files go to /tmp/ray;"
        " RAY_TMPDIR chooses another folder\n"
    )
