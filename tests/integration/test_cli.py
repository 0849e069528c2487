"""The command as scripts see it: exit codes, one-line errors, JSON on stdout."""

import json
import os
import signal
import subprocess
import sys
import time

import click
import pytest
from helpers.command import call, command, one_line, wait_for
from helpers.tiny import TINY_TOML

from pneumo_batch import __version__, cli


@pytest.fixture
def job_file(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(TINY_TOML.format(epochs=1))
    return path


def test_help_needs_neither_torch_nor_ray():
    code = "import sys; from pneumo_batch import cli; cli.cli.main(['--help'], standalone_mode=False); "
    code += "assert not {'torch', 'ray', 'pyarrow', 'pandas'} & set(sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Can these saliency maps be trusted?" in result.stdout


@pytest.mark.parametrize("module", ["pneumo_batch", "pneumo_batch.cli"])
def test_the_command_is_also_a_module_to_run(module):
    result = subprocess.run([sys.executable, "-m", module, "--version"], capture_output=True, text=True, check=True)
    assert result.stdout == f"pneumo-batch, version {__version__}\n"


def commands(group=cli.cli, path=()):
    for name, found in group.commands.items():
        if isinstance(found, click.Group):
            yield from commands(found, (*path, name))
        else:
            yield pytest.param(found, id=" ".join((*path, name)))


@pytest.mark.parametrize("found", list(commands()))
def test_every_command_is_documented_with_an_example(found):
    assert found.help
    assert "Example:" in found.help
    assert all(option.help for option in found.params if isinstance(option, click.Option))


def test_the_whole_run_then_nothing_to_do_then_status_and_list(tmp_path, job_file):
    run_dir = str(tmp_path / "runs" / "first")
    words = command("run", job_file, "--run-dir", run_dir, "--limit", "5", "--json")
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    outcome = json.loads(result.stdout)
    assert outcome["record"]["status"] == "complete"
    assert outcome["record"]["counts"]["attributed"] == 5
    assert set(outcome["verdict"]["methods"]) == {"integrated_gradients", "grad_cam"}
    again = call("run", str(job_file), "--run-dir", run_dir, "--limit", "5")
    assert again.returncode == 0
    assert again.stdout.startswith("nothing to do: this run is complete")
    required = call("run", str(job_file), "--run-dir", run_dir, "--limit", "5", "--require", "sensitive")
    assert required.returncode == 4
    other = call("run", str(job_file), "--run-dir", run_dir)
    assert other.returncode == 2
    assert "holds the run of another job" in one_line(other)
    status = json.loads(call("status", run_dir, "--json").stdout)
    assert status["fingerprint"] == outcome["record"]["fingerprint"]
    rows = json.loads(call("ls", str(tmp_path / "runs"), "--json").stdout)
    assert [(row["name"], row["status"]) for row in rows] == [("tiny", "complete")]


def test_an_interrupted_run_says_so_and_continues(tmp_path):
    """Interrupted while it trains, by a scheduler, and where it goes on with training, by Ctrl-C."""
    job_file, run_dir = tmp_path / "long.toml", tmp_path / "run"
    job_file.write_text(TINY_TOML.format(epochs=3000))
    words = command("run", str(job_file), "--run-dir", str(run_dir))
    for times, (sent, code) in enumerate([(signal.SIGTERM, 143), (signal.SIGINT, 130)], start=1):
        with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as running:
            wait_for(lambda times=times: begun(run_dir).count("train") == times, running)
            time.sleep(3)
            running.send_signal(sent)
            message = running.communicate(timeout=60)[1]
        assert running.returncode == code, message
        assert "the same command continues the run" in message.splitlines()[-1]
        record = read_record(run_dir)
        assert record["status"] == "failed"
        assert record["stages"]["index"]["status"] == "complete"
        assert record["error"]["type"] in ("KeyboardInterrupt", "Terminated")
    assert begun(run_dir).count("index") == 1


def begun(run_dir):
    """The stages in the order in which they began."""
    path = run_dir / "events.jsonl"
    whole_lines = path.read_text().rpartition("\n")[0].splitlines() if path.exists() else []
    events = map(json.loads, whole_lines)
    return [event["stage"] for event in events if event["event"] == "stage" and event["status"] == "running"]


def read_record(run_dir):
    path = run_dir / "run.json"
    return json.loads(path.read_text()) if path.exists() else {}


A_FILE = "tiny.toml: a file, or below one: a run is the folder that holds run.json"
BAD = [
    (("run", "none.toml"), 2, "none.toml: cannot read the job file: No such file or directory"),
    (("run", "{job}", "--set", "train.epochs=0"), 2, "train.epochs: Input should be greater than or equal to 1"),
    (("run", "{job}", "--set", "network.name=alexnett", "--dry-run"), 2, "alexnett"),
    (("run", "{job}", "--set", 'attribution.methods=["grad_kam"]', "--dry-run"), 2, "grad_kam"),
    (("run", "{job}", "--set", "attribution.target=cats", "--dry-run"), 2, "attribution.target 'cats'"),
    (("run", "{job}", "--set", "attribution.grad_cam.layer=conv9", "--dry-run"), 2, "conv9"),
    (("run", "{job}", "--set", "data.root=nowhere"), 3, "nowhere: no such folder"),
    (("status", "nowhere"), 2, "nowhere: no run here"),
    (("ls", "nowhere"), 2, "nowhere: no such folder"),
    (("ls", "{job}"), 2, "tiny.toml: a file, not a folder of runs"),
    (("clean", "{job}", "--keep", "1"), 2, "tiny.toml: a file, not a folder of runs"),
    (("status", "{job}"), 2, A_FILE),
    (("status", "{job}/run", "--json"), 2, "tiny.toml/run: a file, or below one"),
    (("report", "{job}"), 2, A_FILE),
    (("verify", "{job}"), 2, A_FILE),
    (("export", "{job}", "--out", "maps"), 2, A_FILE),
    (("track", "{job}"), 2, A_FILE),
    (("report", "nowhere"), 2, "nowhere: no run here"),
    (("data", "check", "nowhere"), 3, "nowhere: no such folder"),
]


@pytest.mark.parametrize(("arguments", "code", "message"), BAD, ids=[" ".join(a[:1] + a[-1:]) for a, _, _ in BAD])
def test_user_errors_are_one_line_with_an_exit_code(tmp_path, job_file, arguments, code, message):
    result = call(*(part.format(job=job_file) if "{job}" in part else part for part in arguments), cwd=tmp_path)
    assert result.returncode == code, result.stderr
    assert message in one_line(result)
    assert not (tmp_path / "nowhere").exists()


def test_log_lines_may_be_json(tmp_path):
    result = call("run", "none.toml", "--log-format", "json", cwd=tmp_path)
    assert result.returncode == 2
    (line,) = [json.loads(line) for line in result.stderr.splitlines()]
    assert (line["level"], line["exit_code"]) == ("error", 2)
    assert line["message"].startswith("pneumo-batch: none.toml: cannot read the job file")


def test_usage_errors_exit_with_2(tmp_path):
    assert call("run").returncode == 2
    assert call("run", "x.toml", "--until", "lunch").returncode == 2


def test_dry_run_changes_nothing_and_tells_the_numbers(tmp_path, job_file):
    result = call("run", str(job_file), "--dry-run", "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    plan = json.loads(result.stdout)
    assert (plan["classes"], plan["positive"]) == (["NORMAL", "PNEUMONIA"], "PNEUMONIA")
    assert (
        "classes        0 NORMAL, 1 PNEUMONIA; the logit is of PNEUMONIA"
        in call("run", str(job_file), "--dry-run", cwd=tmp_path).stdout
    )
    assert plan["stages"]["attribute"] == {
        "images": 8,
        "maps": 8 * 2 * 2,
        "map_shapes": {"integrated_gradients": [64, 64], "grad_cam": [4, 4]},
        "bytes": 8 * 2 * 4 * (64 * 64 + 4 * 4),
    }
    epochs = sum(plan["stages"]["train"]["epochs"].values())
    images = plan["stages"]["index"]["train"]
    measured = 2 * 2.38 / 1024  # core-seconds an image and epoch, docs/performance.md
    assert plan["estimate"]["training_core_hours_at_most"] == pytest.approx(images * epochs * measured / 3600, abs=1e-3)
    assert not (tmp_path / "runs").exists()


def test_demo_data_can_be_written_checked_and_not_overwritten(tmp_path):
    folder = tmp_path / "films"
    sizes = ("--train", "16", "--test", "8", "--size", "64")
    assert call("data", "demo", str(folder), *sizes).stdout.strip() == str(folder)
    audit = json.loads(call("data", "check", str(folder), "--json").stdout)
    assert audit["images"] == 24
    assert audit["errors"] == []
    (folder / "test/NORMAL/broken.jpeg").write_bytes(b"no film")
    checked = call("data", "check", str(folder))
    assert checked.returncode == 3
    stops = "error: a run with these images stops: 1 of 25 images is unreadable, more than data.max_bad = 0.01"
    assert stops in " ".join(checked.stdout.split())
    inside = call("run", "demo", "--run-dir", str(folder))
    assert inside.returncode == 2
    assert "holds no run, but is not empty" in one_line(inside)
    again = call("data", "demo", str(folder), *sizes)
    assert again.returncode == 2
    assert "exists already" in one_line(again)


def test_check_rejects_data_with_errors(tmp_path):
    folder = tmp_path / "films"
    assert call("data", "demo", str(folder), "--train", "16", "--test", "8", "--size", "64").returncode == 0
    film = next((folder / "train" / "NORMAL").iterdir())
    (folder / "test" / "NORMAL" / "copy-0001.jpeg").write_bytes(film.read_bytes())
    result = call("data", "check", str(folder))
    assert result.returncode == 3
    assert "error: " in result.stdout


def test_config_commands_print_what_loads(tmp_path, job_file):
    shown = call("config", "show", str(job_file), "--set", "data.image_size=96")
    path = tmp_path / "shown.toml"
    path.write_text(shown.stdout)
    assert "image_size = 96" in shown.stdout
    assert call("config", "show", str(path)).stdout == shown.stdout
    assert json.loads(call("config", "schema").stdout)["properties"]["data"]
    path.write_text(call("config", "init").stdout)
    assert call("config", "show", str(path)).returncode == 0


def test_doctor_says_what_it_found(tmp_path, job_file):
    result = call("doctor", str(job_file), "--json", cwd=tmp_path)
    checks = {item["check"]: item for item in json.loads(result.stdout)}
    assert checks["versions"]["ok"]
    assert checks["data"]["found"] == "generated"
    assert result.returncode == (0 if all(item["ok"] for item in checks.values()) else 1)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_read_only_place_is_one_line(tmp_path, job_file):
    place = tmp_path / "readonly"
    place.mkdir(mode=0o500)
    result = call("run", str(job_file), "--run-dir", str(place / "run"))
    assert result.returncode == 1
    assert "Permission denied" in one_line(result)
