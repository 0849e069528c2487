"""Hands a job to a Ray cluster through its Jobs API, follows it there, and ends as it ended.

What travels is this package and the resolved job, some hundred kilobytes; torch and the rest belong to the cluster's
image. A job is known there as `<name>-<fingerprint>`; an attempt after one that ended has a number behind it, since Ray
does not support a submission id twice, not even after it was deleted.
"""

import asyncio
import contextlib
import importlib.metadata
import logging
import os
import re
import shlex
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import tomli_w

from pneumo_batch.errors import DataError, JobError
from pneumo_batch.job import jobfile
from pneumo_batch.job.schema import Job
from pneumo_batch.rundir import provenance
from pneumo_batch.rundir.integrity import sha256
from pneumo_batch.rundir.layout import JOB
from pneumo_batch.rundir.locations import absolute, located, refuse_credentials, with_located_network
from pneumo_batch.rundir.storage import Store

if TYPE_CHECKING:
    from ray.job_submission import JobDetails, JobSubmissionClient

_CONNECT_SECONDS = 5
_LOST_SECONDS = 60  # since a connection was lost, before following gives up: a head may be busy
_READY_SECONDS = 60  # that a head is given to start its agents: it answers before they do
_AGAIN_SECONDS = 2
_STOP_SECONDS = 30  # that a stopped run is given to note where it is; Ray gives 3
_STOPPED_CODE = 143
_UNKNOWN_CODE = 1
_ENTRY = "pneumo_batch/integrations/entry.sh"


@dataclass(frozen=True)
class Submission:
    """A job on a cluster."""

    id: str
    run_dir: str
    attached: bool  # it was there already
    options: tuple[str, ...]  # of the `pneumo-batch run` that it is
    other_job: bool = False  # it was started with other values of fields that change no result


def connect(address: str) -> "JobSubmissionClient":
    """The Jobs API of a cluster. Raises JobError within seconds when nothing answers or it lets nobody in."""
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise JobError(f"--address {address}: expected the dashboard of the cluster's head, http://HEAD:8265")
    with _explained(address):
        # Ray's client waits for minutes where packets get lost.
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((parts.hostname, port), timeout=_CONNECT_SECONDS).close()
        from ray.job_submission import JobSubmissionClient

        for name in ("ray", "ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk"):
            logging.getLogger(name).setLevel(logging.ERROR)
        for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):  # they would overrule the address that was asked for
            os.environ.pop(name, None)
        return JobSubmissionClient(address)


@contextlib.contextmanager
def _explained(address: str) -> Iterator[None]:
    """Errors of the connection as one line."""
    try:
        yield
    except Exception as error:
        from ray.exceptions import AuthenticationError

        lines = str(error).splitlines() or [type(error).__name__]
        if isinstance(error, AuthenticationError):
            hint = "the cluster requires its token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"
            raise JobError(f"--address {address}: {lines[0]}; {hint}") from error
        if isinstance(error, (OSError, RuntimeError)):  # requests' errors are OSErrors
            raise JobError(f"--address {address}: {lines[0]}") from error
        raise


# ------------------------------------------------------------------------------------------------------------ to submit


def submit(
    client: "JobSubmissionClient", address: str, job: Job, run_dir: str | None, options: Sequence[str] = ()
) -> Submission:
    """Start the job, or find it running there already. Relative paths are seen from this machine's working folder.

    `options` are more words for the `pneumo-batch run` it becomes there, one each; a job found running keeps those it
    has. Raises JobError when a URI holds credentials, it runs into another directory than the one asked for, or the
    cluster has no agent to take it within a minute.
    """
    for location in (run_dir or "", *jobfile.places(job)):  # before any of them is sent, or noted in a message
        refuse_credentials(location)
    fingerprint = identity(job)
    name = f"{job.name}-{fingerprint[:12]}"
    place = absolute(run_dir or f"runs/{name}")
    deadline = time.monotonic() + _READY_SECONDS
    with _explained(address):
        while True:
            newest = _newest(client, name)
            if newest and not newest.status.is_terminal():
                return _attach(newest, job, place)
            taken = _attempt(newest.submission_id, name) if newest else 0
            wanted = name if not taken else f"{name}-{taken + 1}"
            try:
                started = _start(client, wanted, job, place, options)
                return Submission(started, place, attached=False, options=tuple(options))
            except RuntimeError as error:
                if "No available agent" in str(error) and time.monotonic() < deadline:
                    time.sleep(_AGAIN_SECONDS)
                elif "already exists" not in str(error):  # else another client was quicker: attach to what it started
                    raise


def identity(job: Job) -> str:
    """The fingerprint of the run where the data can be read from here; else one of the job and the place of its data.

    Either is the same each time. Raises DataError for data that are here and cannot be used.
    """
    from pneumo_batch.stages import survey

    job = with_located_network(job)  # as the run has it: where its files are is in its fingerprint
    try:
        return survey.survey(job).fingerprint
    except (DataError, JobError, OSError):
        if job.is_phantom or all(map(_is_here, job.data.roots)):
            raise
    return jobfile.fingerprint(job, {"data.root": ", ".join(job.data.roots)})


def _is_here(root: str) -> bool:
    try:
        return Store(root).exists()
    except (OSError, ValueError):
        return False


def _attach(found: "JobDetails", job: Job, place: str) -> Submission:
    about = found.metadata or {}
    running_into = about.get("run_dir", place)
    if running_into != place:
        raise JobError(
            f"{found.submission_id} is already running, into {running_into}; wait for it, or use that --run-dir"
        )
    assert found.submission_id is not None
    options = tuple(shlex.split(about.get("options", "")))
    return Submission(found.submission_id, place, True, options, other_job=about.get("job") != _digest(job))


def _newest(client: "JobSubmissionClient", name: str) -> "JobDetails | None":
    """The last attempt of a job; None when the cluster does not know it."""
    found = [info for info in client.list_jobs() if _attempt(info.submission_id, name)]
    return max(found, key=lambda info: _attempt(info.submission_id, name), default=None)


def _attempt(submission_id: str | None, name: str) -> int:
    """1 for the name itself, the number behind it for a later attempt, 0 for another job."""
    match = re.fullmatch(rf"{re.escape(name)}(?:-(\d+))?", submission_id or "")
    return int(match[1] or 1) if match else 0


def _start(client: "JobSubmissionClient", submission_id: str, job: Job, place: str, options: Sequence[str]) -> str:
    words = ["sh", _ENTRY, "run", JOB, "--run-dir", place, "--address", "auto", *options]
    with tempfile.TemporaryDirectory(prefix="pneumo-batch-") as folder:
        pack(Path(folder), job)
        return client.submit_job(
            entrypoint=f"exec {shlex.join(words)}",  # without a shell in between the exit code is the run's own
            submission_id=submission_id,
            runtime_env={
                "working_dir": folder,
                "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(_STOP_SECONDS), **provenance.as_environment()},
            },
            metadata={"name": job.name, "run_dir": place, "options": shlex.join(options), "job": _digest(job)},
        )


def pack(folder: Path, job: Job) -> None:
    """Write what travels: this package, its metadata (which say the version), and the job with absolute paths."""
    package = Path(__file__).resolve().parents[1]
    shutil.copytree(package, folder / package.name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    about = importlib.metadata.distribution("pneumo-batch")
    info = folder / f"pneumo_batch-{about.version}.dist-info"
    info.mkdir()
    # written anew: a source tree keeps its own under another name
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: pneumo-batch\nVersion: {about.version}\n")
    (folder / JOB).write_text(tomli_w.dumps(_values(job)), encoding="utf-8")


def _digest(job: Job) -> str:
    """Of all of its values; its id holds those only that change results."""
    return sha256(tomli_w.dumps(_values(job)).encode())


def _values(job: Job) -> dict[str, Any]:
    return located(job).model_dump(mode="json", exclude_none=True)


# ------------------------------------------------------------------------------------------------------------ to follow


def find(client: "JobSubmissionClient", address: str, name: str) -> "JobDetails":
    """A submission by its id, or the last attempt of a job by its name. Raises JobError when there is none."""
    with _explained(address):
        known = {info.submission_id: info for info in client.list_jobs() if info.submission_id}
        found = _newest(client, name) or known.get(name)
    if found is None:
        raise JobError(f"--address {address}: no job {name}; there are: {', '.join(sorted(known)) or 'none'}")
    return found


def follow(client: "JobSubmissionClient", address: str, submission_id: str) -> "JobDetails":
    """Copy the log to stderr until the job has ended. Raises JobError when the cluster no longer answers."""
    import aiohttp  # whose errors, but for those of connecting, are no OSErrors

    log, lost = _Log(), None
    while True:
        try:
            asyncio.run(log.copy(client.tail_job_logs(submission_id)))
            found = client.get_job_info(submission_id)
            if found.status.is_terminal():
                return found
            lost = None
        except (OSError, RuntimeError, aiohttp.ClientError) as error:
            now = time.monotonic()
            if lost is None or log.was_cut:
                lost = now
            if now - lost > _LOST_SECONDS:
                line = f"{address} no longer answers; {submission_id} may still run: the same command attaches to it"
                raise JobError(f"--address {line}") from error
        time.sleep(_AGAIN_SECONDS)


class _Log:
    """The log of a job on stderr, once, over however many connections: each sends it from its beginning."""

    def __init__(self) -> None:
        self.was_cut = False  # the last connection sent some of it, then ended in an error
        self._shown = 0  # characters

    async def copy(self, chunks: AsyncIterator[str]) -> None:
        """Show what is new of one connection, for as long as it sends."""
        self.was_cut, sent = False, 0
        async for chunk in chunks:
            self.was_cut = True
            sys.stderr.write(chunk[max(0, self._shown - sent) :])
            sys.stderr.flush()
            sent += len(chunk)
            self._shown = max(self._shown, sent)
        self.was_cut = False


def stop(client: "JobSubmissionClient", address: str, submission_id: str) -> "JobDetails":
    """Ask a job to end and wait for it. The run notes where it is and can be submitted again."""
    with _explained(address):
        client.stop_job(submission_id)
        deadline = time.monotonic() + _STOP_SECONDS + _CONNECT_SECONDS
        while not (found := client.get_job_info(submission_id)).status.is_terminal() and time.monotonic() < deadline:
            time.sleep(0.5)
    return found


def exit_code(found: "JobDetails") -> int:
    """The exit code of the run itself; of one that never began, 1."""
    if found.driver_exit_code is not None:
        return found.driver_exit_code if found.driver_exit_code >= 0 else 128 - found.driver_exit_code
    return _STOPPED_CODE if found.status.value == "STOPPED" else _UNKNOWN_CODE


def as_dict(found: "JobDetails") -> dict[str, str | int | None]:
    """For `--json`."""
    ended = found.status.is_terminal()
    return {
        "submission_id": found.submission_id,
        "status": found.status.value,
        "exit_code": exit_code(found) if ended else None,
        "run_dir": (found.metadata or {}).get("run_dir"),
        "message": (found.message or "").splitlines()[0] if found.message else None,
    }
