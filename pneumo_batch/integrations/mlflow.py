"""A finished run in MLflow: its job as parameters, its numbers as metrics, verdicts as tags, the report as artifact."""

import dataclasses
import math
import os
import re
import socket
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pneumo_batch import __version__
from pneumo_batch.core.statistics import results
from pneumo_batch.core.statistics.results import Results
from pneumo_batch.errors import RunError
from pneumo_batch.rundir.layout import REPORT, VERDICT
from pneumo_batch.rundir.reader import Run

if TYPE_CHECKING:
    from mlflow import MlflowClient

FINGERPRINT = "pneumo_batch.fingerprint"
NUMBER = "pneumo_batch.pass"  # of the pass over growing data
_PARAMETERS_A_CALL = 100  # MLflow's limit
_LONGEST_VALUE = 500
_CONNECT_SECONDS = 5
# MLflow's own: seven tries, each after a longer wait and of up to two minutes.
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}


def track(run: Run, experiment: str) -> str:
    """Log a concluded run to whatever MLFLOW_TRACKING_URI says and return MLflow's id of it.

    A run that is there already, by its fingerprint and pass, is left as it is. Raises RunError for a run without a
    verdict, where mlflow is missing, within seconds where no server answers, and in MLflow's own words for what one
    refuses.
    """
    run.check_concluded()
    found = results.read(run.verdict)
    client, failure = _client()
    try:
        return _logged(run, found, client, _experiment(client, experiment))
    except failure as error:
        raise RunError(f"MLflow: {str(error).strip().splitlines()[0]}") from error


def _client() -> "tuple[MlflowClient, type[Exception]]":
    if "MLFLOW_TRACKING_URI" not in os.environ:
        raise RunError("set MLFLOW_TRACKING_URI to the tracking server, e.g. http://host:5000")
    for name, value in _PATIENCE.items():  # read when mlflow asks for them
        os.environ.setdefault(name, value)
    try:
        import mlflow
    except ImportError as error:
        raise RunError("tracking needs mlflow: pip install 'pneumo-batch[mlflow]'") from error
    _knock(os.environ["MLFLOW_TRACKING_URI"])
    try:
        return mlflow.MlflowClient(), mlflow.MlflowException
    except mlflow.MlflowException as error:
        raise RunError(f"MLflow: {str(error).strip().splitlines()[0]}") from error


def _knock(uri: str) -> None:
    """Raise RunError when nothing answers at a server's address; proxies and other stores are MLflow's affair."""
    from requests.utils import get_environ_proxies, select_proxy

    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https") or not parts.hostname or select_proxy(uri, get_environ_proxies(uri)):
        return
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((parts.hostname, port), timeout=_CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:  # without what the address may hold of names and passwords
        place = parts.netloc.rpartition("@")[2]
        raise RunError(
            f"MLflow: no server answers at MLFLOW_TRACKING_URI ({parts.scheme}://{place}): {error}"
        ) from error


def _experiment(client: "MlflowClient", name: str) -> str:
    found = client.get_experiment_by_name(name)
    return found.experiment_id if found else client.create_experiment(name)


def _logged(run: Run, found: Results, client: "MlflowClient", experiment: str) -> str:
    from mlflow.entities import Metric, Param, RunTag

    if there := _there(run, client, experiment):
        return there
    known_by = {FINGERPRINT: run.record["fingerprint"], NUMBER: str(run.number)}
    tags = {**known_by, "pneumo_batch.version": __version__, **verdicts(found)}
    started = client.create_run(experiment, run_name=run.record["name"]).info.run_id
    now = client.get_run(started).info.start_time
    values = [Metric(key, value, now, 0) for key, value in metrics(found).items()]
    client.log_batch(started, metrics=values, tags=[RunTag(key, value) for key, value in tags.items()])
    params = [Param(key, value) for key, value in parameters(run)]
    for start in range(0, len(params), _PARAMETERS_A_CALL):
        client.log_batch(started, params=params[start : start + _PARAMETERS_A_CALL])
    for name in (VERDICT, REPORT):
        if run.store.exists(name):
            client.log_text(started, run.store.read_bytes(name).decode(), name)
    client.set_terminated(started)
    return started


def _there(run: Run, client: "MlflowClient", experiment: str) -> str | None:
    """MLflow's id of what this run's pass was logged as; None if it was not."""
    same = f"tags.`{FINGERPRINT}` = '{run.record['fingerprint']}' and attributes.status = 'FINISHED'"
    found = list(client.search_runs([experiment], f"{same} and tags.`{NUMBER}` = '{run.number}'"))
    if run.number == 1 and not found:  # earlier versions logged one pass, without a number
        found = [one for one in client.search_runs([experiment], same) if NUMBER not in one.data.tags]
    return found[0].info.run_id if found else None


def parameters(run: Run) -> list[tuple[str, str]]:
    """The resolved job, flat: ("train.epochs", "15")."""
    values = run.job.model_dump(mode="json", exclude_none=True)
    return [(_key(key), str(value)[:_LONGEST_VALUE]) for key, value in _flat(values)]


def metrics(found: Results) -> dict[str, float]:
    """Numbers of every variant ("true_0.test.auroc") and, of the primary cell, of every method.

    Of several targets those of the first have these names; of all there are "target.Effusion.grad_cam.share.value" and,
    between two, "specificity.Effusion.Mass.grad_cam.share.value".
    """
    values: dict[str, object] = {name: dataclasses.asdict(one) for name, one in found.variants.items()}
    values |= _numbers(found)
    values |= {f"target.{target}": _numbers(found.of_target(target)) for target in found.targets}
    for method, between in found.specificity.items():
        for one in between:
            values[f"specificity.{'.'.join(one.targets)}.{method}"] = dataclasses.asdict(one.numbers)
    flat = _flat(values)
    return {_key(key): float(value) for key, value in flat if isinstance(value, int | float) and _is_number(value)}


def _numbers(found: Results) -> dict[str, object]:
    return {method: dataclasses.asdict(one.numbers) for method, one in found.methods.items()}


def verdicts(found: Results) -> dict[str, str]:
    """One tag a method: ("verdict.grad_cam", "sensitive"); of several targets also "verdict.grad_cam.Effusion"."""
    tags: dict[str, str] = {_key(f"verdict.{method}"): one.verdict for method, one in found.methods.items()}
    for target, one in found.targets.items():
        tags |= {_key(f"verdict.{method}.{target}"): judged.verdict for method, judged in one.methods.items()}
    return tags


def _flat(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _is_number(value: float) -> bool:
    return not isinstance(value, bool) and math.isfinite(value)


def _key(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_./ -]", "_", name)
