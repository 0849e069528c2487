"""Jobs on a real cluster head, its dashboard included, that the tests start and end."""

import http.server
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import ray
from helpers.command import call, command, free_port, one_line, wait_for
from helpers.tiny import TINY_TOML

from pneumo_batch.cli import cli
from pneumo_batch.core.data import phantom
from pneumo_batch.errors import JobError
from pneumo_batch.integrations import ray_jobs
from pneumo_batch.job import schema

AGENT = ("dashboard-agent-listen-port", "dashboard-agent-grpc-port")
TOKEN = "a-token-that-only-this-test-knows"


@pytest.fixture(scope="module")
def head():
    """The address of a head whose API wants a token, and the environment of a client that has it."""
    place = tempfile.mkdtemp(prefix="pb", dir="/tmp")  # short: paths of sockets are
    port = free_port()
    ports = ("port", "ray-client-server-port", "metrics-export-port", *AGENT)
    arguments = [f"--{name}={free_port()}" for name in ports]
    arguments += [f"--dashboard-port={port}", f"--temp-dir={place}", "--num-cpus=4"]
    arguments += ["--object-store-memory=150000000", "--disable-usage-stats", "--include-dashboard=true"]
    start = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", *arguments]
    secret = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
    # as `/opt/venv/bin/ray start`: the Python that Ray runs in is not the one on PATH
    ours = str(Path(sys.executable).parent)
    path = os.pathsep.join(folder for folder in os.environ["PATH"].split(os.pathsep) if folder != ours)
    environment = {**os.environ, **secret, "PATH": path}
    environment.pop("RAY_ADDRESS", None)
    with (Path(place) / "head.log").open("w") as log:
        process = subprocess.Popen(start, env=environment, stdout=log, stderr=log)
    try:
        wait_for(lambda: answers(port), process)
        yield f"http://127.0.0.1:{port}", environment
    finally:
        if process.poll() is not None:
            print("the head ended by itself:", (Path(place) / "head.log").read_text()[-3000:])
        process.terminate()
        process.wait(timeout=60)
        shutil.rmtree(place, ignore_errors=True)


def answers(port) -> bool:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/api/jobs/", headers={"Authorization": f"Bearer {TOKEN}"})
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return response.status == 200
    except OSError:
        return False


def job_file(tmp_path, epochs=1):
    path = tmp_path / "tiny.toml"
    path.write_text(TINY_TOML.format(epochs=epochs))
    return str(path)


def submission(stderr: str) -> str:
    return re.search(r"(?:submitted|attached to) (\S+), run", stderr)[1]


@pytest.mark.slow
def test_a_client_that_dies_leaves_the_job_and_the_next_one_attaches_and_reads_the_verdict(head, tmp_path):
    address, environment = head
    run_dir = tmp_path / "run"
    phantom.write(tmp_path / "films", train=16, test=8, seed=0, image_size=64)
    arguments = ("submit", job_file(tmp_path), "--address", address, "--run-dir", str(run_dir), "--limit", "4")
    arguments += ("--set", f"data.root={tmp_path / 'films'}", "--hash-paths")
    with subprocess.Popen(command(*arguments), env=environment, stderr=subprocess.PIPE, text=True) as first:
        line = first.stderr.readline()
        name = submission(line)
        assert line == f"submitted {name}, run {run_dir}\n"
        wait_for(lambda: (run_dir / "run.json").exists())
        first.send_signal(signal.SIGKILL)
    again = run_as(environment, *arguments, "--json")
    assert again.stderr.startswith(f"attached to {name}, run {run_dir}\n")
    found = json.loads(again.stdout)
    assert (found["submission_id"], found["status"], found["run_dir"]) == (name, "SUCCEEDED", str(run_dir))
    assert (again.returncode, found["exit_code"]) == (0, 0)
    assert "grad_cam: invalid" in again.stderr  # the run's own last words
    record = json.loads((run_dir / "run.json").read_text())
    assert record["status"] == "complete"
    records = [run_dir / name for name in ("run.json", "job.toml", "events.jsonl")]
    assert [path.name for path in records if str(tmp_path) in path.read_text()] == []
    assert re.fullmatch(rf"tiny-{record['fingerprint'][:12]}", name)
    # An ended job is tried again under the next number, finds the run complete, and passes its exit code on.
    third = run_as(environment, *arguments, "--require", "sensitive", "--json")
    assert third.returncode == 4, third.stderr
    assert submission(third.stderr) == f"{name}-2"
    assert "nothing to do" in third.stderr
    found = json.loads(third.stdout)
    assert (found["status"], found["exit_code"]) == ("FAILED", 4)
    newest = run_as(environment, "job", "status", name, "--address", address)
    assert newest.stdout == f"{name}-2  FAILED  exit_code 4  run_dir {run_dir}\n"


@pytest.mark.slow
def test_a_stopped_job_notes_where_it_is_and_goes_on_when_submitted_again(head, tmp_path):
    address, environment = head
    run_dir = tmp_path / "run"
    long = job_file(tmp_path, epochs=3000)
    arguments = ("submit", long, "--address", address, "--run-dir", str(run_dir), "--set", "train.checkpoint_seconds=0")
    first = run_as(environment, *arguments, "--no-wait")
    name = submission(first.stderr)
    assert first.returncode == 0
    assert first.stdout.startswith(f"{name}  ")
    wait_for(lambda: (run_dir / "staging" / "train").exists())
    with subprocess.Popen(
        command("job", "logs", name, "--follow", "--address", address),
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        # a shell's background job, as these tests may be one, ignores Ctrl-C, and so would what it starts
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as follower:
        assert follower.stderr.readline()
        follower.send_signal(signal.SIGINT)
        follower.communicate(timeout=30)
    assert follower.returncode == 130
    elsewhere = run_as(environment, *arguments[:4], "--run-dir", str(tmp_path / "other"), *arguments[6:])
    assert elsewhere.returncode == 2
    assert f"{name} is already running, into {run_dir}" in one_line(elsewhere)
    stopped = run_as(environment, "job", "stop", name, "--address", address, "--json")
    assert stopped.returncode == 0, stopped.stderr
    assert json.loads(stopped.stdout)["status"] == "STOPPED"
    assert json.loads(stopped.stdout)["exit_code"] == 143
    record = json.loads((run_dir / "run.json").read_text())
    assert (record["status"], record["error"]["type"]) == ("failed", "Terminated")
    logs = run_as(environment, "job", "logs", name, "--address", address)
    assert "the same command continues the run" in logs.stdout
    second = run_as(environment, *arguments, "--no-wait")
    assert submission(second.stderr) == f"{name}-2"
    wait_for(lambda: json.loads((run_dir / "run.json").read_text())["status"] == "running")
    assert run_as(environment, "job", "stop", name, "--address", address).stdout.startswith(f"{name}-2  STOPPED")


@pytest.mark.slow
def test_without_the_token_one_line_says_so(head, tmp_path):
    address, environment = head
    without = {name: value for name, value in environment.items() if not name.startswith("RAY_AUTH")}
    for secret in ({"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "another"}):
        result = run_as({**without, **secret}, "job", "status", "x", "--address", address)
        assert result.returncode == 2
        assert "RAY_AUTH_MODE=token" in one_line(result)
    known = run_as(environment, "job", "status", "nobody", "--address", address)
    assert known.returncode == 2
    assert "no job nobody; there are: " in one_line(known)


def run_as(environment, *arguments):
    return subprocess.run(command(*arguments), env=environment, capture_output=True, text=True, check=False)


class Attached:
    """A client of a cluster where a job runs already, and ends with `codes` one after the other."""

    def __init__(self, *codes):
        self.codes, self.jobs = list(codes), []

    def list_jobs(self):
        return self.jobs

    def submit_job(self, *, entrypoint, submission_id, metadata, **_):
        found = details(submission_id, "RUNNING", metadata, entrypoint)
        self.jobs.append(found)
        return submission_id

    def end(self, _client, _address, submission_id):
        (place,) = [i for i, one in enumerate(self.jobs) if one.submission_id == submission_id]
        code = self.codes.pop(0)
        status = "SUCCEEDED" if code == 0 else "FAILED"
        self.jobs[place] = details(submission_id, status, self.jobs[place].metadata, self.jobs[place].entrypoint, code)
        return self.jobs[place]


def details(submission_id, status, metadata, entrypoint, code=None):
    from ray.job_submission import JobDetails, JobStatus

    return JobDetails(
        type="SUBMISSION",
        submission_id=submission_id,
        status=JobStatus(status),
        entrypoint=entrypoint,
        metadata=metadata,
        driver_exit_code=code,
    )


@pytest.fixture
def submitted(monkeypatch, capsys, tmp_path):
    """What `submit` comes to that finds a job running: its exit code, stderr and what the cluster was given."""
    path = job_file(tmp_path)

    def call(codes, first, *options):
        client = Attached(*codes)
        monkeypatch.setattr(ray_jobs, "connect", lambda _: client)
        monkeypatch.setattr(ray_jobs, "follow", client.end)
        words = ["submit", path, "--address", "http://head:8265", "--run-dir", str(tmp_path / "run")]
        assert cli.main([*words, *first, "--no-wait"], standalone_mode=False) == 0
        capsys.readouterr()
        code = cli.main([*words, *options], standalone_mode=False)
        started = [one.entrypoint.partition("--address auto")[2].split() for one in client.jobs]
        return code, capsys.readouterr().err, started

    return call


NAME = r"tiny-[0-9a-f]{12}"


@pytest.mark.parametrize(
    ("first", "codes", "required", "code"),
    [
        ([], (0, 4), ["sensitive"], 4),  # asked of it once it has ended
        ([], (0, 0), ["grad_cam=invalid"], 0),
        (["--require=sensitive"], (4, 0), ["invalid"], 0),  # what another command required of it says nothing of ours
        (["--require=sensitive"], (4, 0), [], 0),
    ],
)
def test_what_a_job_found_running_was_not_asked_is_asked_at_its_end(submitted, first, codes, required, code):
    words = [f"--require={one}" for one in required]
    found, stderr, started = submitted(codes, first, *words)
    assert (found, started) == (code, [first, words])
    assert re.fullmatch(rf"attached to ({NAME}), run \S+\nsubmitted \1-2, run \S+\n", stderr)


@pytest.mark.parametrize(
    ("first", "code", "required"),
    [
        ([], 0, []),
        ([], 3, ["sensitive"]),  # it came to no verdict
        (["--require=invalid"], 4, ["invalid"]),
        (["--require=invalid", "--require=grad_cam=invalid"], 0, ["invalid"]),
    ],
)
def test_the_exit_code_of_a_job_found_running_is_the_answer_where_it_tells(submitted, first, code, required):
    found, _, started = submitted([code], first, *(f"--require={one}" for one in required))
    assert (found, started) == (code, [first])


def test_what_a_job_found_running_cannot_take_up_is_a_line(submitted):
    code, stderr, _ = submitted([0], [], "--hash-paths", "--set", "cluster.stall_seconds=77")
    assert code == 0
    _, fields, paths = stderr.splitlines()
    assert re.fullmatch(rf"{NAME}: it keeps the values it was started with of fields that change no result: .+", fields)
    assert re.fullmatch(rf"{NAME}: it was started without --hash-paths: its records have absolute paths", paths)


def test_paths_that_were_kept_out_of_records_stay_out_when_it_is_asked(submitted):
    assert submitted((0, 0), ["--hash-paths"], "--require=invalid")[2][1] == ["--require=invalid", "--hash-paths"]


def test_without_waiting_nobody_asks_a_job_found_running(submitted):
    code, stderr, started = submitted([], [], "--require=grad_cam=sensitive", "--no-wait")
    assert (code, started) == (2, [[]])
    assert re.search(rf"\npneumo-batch: --require grad_cam=sensitive: {NAME} was started without it; .+\n$", stderr)
    assert submitted([], ["--require=invalid"], "--require=invalid", "--no-wait")[0] == 0


def test_what_is_wrong_here_is_said_here(tmp_path):
    path = job_file(tmp_path)
    nobody = f"http://127.0.0.1:{free_port()}"
    for arguments, message in (
        ((path, "--address", nobody), "Connection refused"),
        ((path, "--address", "head:8265"), "expected the dashboard of the cluster's head"),
        ((path, "--address", nobody, "--set", "train.epochs=0"), "train.epochs: Input should be greater"),
    ):
        result = call("submit", *arguments)
        assert result.returncode == 2
        assert message in one_line(result)


class Starting(http.server.BaseHTTPRequestHandler):
    """What a head answers whose agents are still starting: it takes a job at the time `ready_after`."""

    ready_after = 2
    asked = 0

    def do_GET(self):
        if self.path.startswith("/api/packages"):
            self.answer(200, "")
        else:
            version = {"version": "4", "ray_version": ray.__version__, "ray_commit": "", "session_name": ""}
            self.answer(200, json.dumps([] if self.path.startswith("/api/jobs") else version))

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).asked += 1
        if self.asked <= self.ready_after:
            self.answer(500, "No available agent to submit job, please try again later.")
        else:
            name = body["submission_id"]
            self.answer(200, json.dumps({"job_id": name, "submission_id": name}))

    def answer(self, status, text):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def starting(monkeypatch):
    """The class that answers, and a client of it."""
    monkeypatch.setattr(ray_jobs, "_AGAIN_SECONDS", 0.05)
    handler = type("Handler", (Starting,), {})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        yield handler, ray_jobs.connect(address), address
        server.shutdown()


def test_a_head_whose_agents_are_still_starting_is_asked_again(starting, tmp_path):
    handler, client, address = starting
    found = ray_jobs.submit(client, address, schema.Job(name="x"), str(tmp_path / "run"))
    assert (handler.asked, found.attached) == (3, False)
    assert found.id == f"x-{ray_jobs.identity(schema.Job(name='x'))[:12]}"


def test_a_head_without_agents_is_one_line_in_the_end(starting, tmp_path, monkeypatch):
    handler, client, address = starting
    handler.ready_after = 10**9
    monkeypatch.setattr(ray_jobs, "_READY_SECONDS", 0.3)
    with pytest.raises(JobError) as error:
        ray_jobs.submit(client, address, schema.Job(name="x"), str(tmp_path / "run"))
    assert str(error.value).startswith(f"--address {address}: Request failed with status code 500: No available agent")


def python(place, body):
    """A program that passes for an interpreter."""
    place.mkdir()
    path = place / "python"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def packed(tmp_path):
    place = tmp_path / "package"
    place.mkdir()
    ray_jobs.pack(place, schema.Job(name="x"))
    return place


def test_a_job_runs_in_the_python_that_its_raylet_names(packed, tmp_path):
    rays = python(tmp_path / "ray", f'[ "$1" = -c ] && exec {sys.executable} "$@"; echo "$0 $*"')
    on_path = python(tmp_path / "path", "exit 9")
    words = ["/bin/sh", "-c", "exec sh pneumo_batch/integrations/entry.sh run x"]
    supervisor = f"import subprocess, sys; sys.exit(subprocess.call({words}))"
    raylet = f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', {supervisor!r}]))"
    named = f"--python_worker_command={rays} /x/setup_worker.py --node"
    environment = {**os.environ, "PATH": f"{on_path.parent}:{os.environ['PATH']}"}
    line = [sys.executable, "-c", raylet, named]
    found = subprocess.run(line, cwd=packed, env=environment, capture_output=True, text=True, check=False)
    assert (found.stdout, found.stderr, found.returncode) == (f"{rays} -m pneumo_batch.cli run x\n", "", 0)


def test_a_python_without_ray_is_one_line(packed, tmp_path):
    bare = python(tmp_path / "path", f'exec {sys.executable} -S "$@"')  # which sees no installed package
    environment = {"PATH": f"{bare.parent}:{os.environ['PATH']}"}
    found = subprocess.run(
        ["sh", "pneumo_batch/integrations/entry.sh", "run"],
        cwd=packed,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.stdout, found.returncode) == ("", 2)
    assert re.fullmatch(
        r"pneumo-batch: \S+ on the head of the cluster has no ray: put the folder of the Python in which Ray and the"
        r" dependencies of pneumo-batch are installed on PATH where ray start is called\n",
        found.stderr,
    )


def test_what_travels_is_the_package_its_version_and_the_job_with_absolute_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spec = {"name": "mine", "kind": "true", "checkpoint": "mine.safetensors"}
    job = schema.Job(name="x", data={"root": "films"}, variant=[spec])
    place = tmp_path / "package"
    place.mkdir()
    ray_jobs.pack(place, job)
    assert sum(path.stat().st_size for path in place.rglob("*") if path.is_file()) < 2_000_000
    assert not list(place.rglob("__pycache__"))
    code = "from pneumo_batch import __file__, __version__; from pneumo_batch.job import jobfile; "
    code += "job = jobfile.load('job.toml'); "
    code += "print(__file__, __version__, job.data.root, job.variant[0].checkpoint)"
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=place, env=clean, capture_output=True, text=True, check=True
    )
    expected = [place / "pneumo_batch" / "__init__.py", "0.1.0", tmp_path / "films", tmp_path / "mine.safetensors"]
    assert shown.stdout.split() == [str(part) for part in expected]


def test_a_job_whose_data_are_on_the_cluster_only_is_named_by_what_it_asks_for(tmp_path):
    root = "/nowhere/on/this/machine"
    job = schema.Job(name="x", data={"root": root})
    assert ray_jobs.identity(job) == ray_jobs.identity(job)
    other = [
        schema.Job(name="x", data={"root": f"{root}/2"}),
        schema.Job(name="x", data={"root": root}, train={"epochs": 3}),
    ]
    assert len({ray_jobs.identity(one) for one in (job, *other)}) == 3
    (tmp_path / "train").mkdir()
    with pytest.raises(ValueError, match="no images found"):  # here, and of no use
        ray_jobs.identity(schema.Job(name="x", data={"root": str(tmp_path)}))


def test_addresses_that_are_none_are_refused():
    with pytest.raises(JobError, match="expected the dashboard"):
        ray_jobs.connect("ray://head:10001")
