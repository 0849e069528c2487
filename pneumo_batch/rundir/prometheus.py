"""The state of a run as a Prometheus text file, for the node exporter's textfile collector or any other scraper."""

import datetime

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from pneumo_batch.rundir.layout import METRICS, PASSES
from pneumo_batch.rundir.reader import Run

_STATES = ("running", "failed", "complete")


def write(run: Run, status: str | None = None) -> None:
    """Write `metrics.prom`, whole or not at all, of a run as it is or as it is about to be."""
    run.store.write_bytes(METRICS, generate_latest(collect(run, status)))


def collect(run: Run, status: str | None = None) -> CollectorRegistry:
    """Every sample names the job and its fingerprint."""
    record = run.record
    status = status or record["status"]
    found = _Gauges({"job": record["name"], "fingerprint": record["fingerprint"][:12]})
    for state in _STATES:
        found.set("run_status", "1 for the state the run is in.", status == state, status=state)
    found.set("run_pass", "Number of the pass over the data.", run.number)
    updated = datetime.datetime.fromisoformat(record["updated"]).timestamp()
    found.set("run_updated_timestamp_seconds", "When the record was last written.", updated)
    for name, value in record["counts"].items():
        found.set(f"run_{name}", f"Images: {name}.", value)
    for name, stage in record["stages"].items():
        if "seconds" in stage:
            found.set("stage_duration_seconds", "Time a stage took.", stage["seconds"], stage=name)
    if run.store.exists(PASSES):
        _last_pass(run, found)
    return found.registry


def _last_pass(run: Run, found: "_Gauges") -> None:
    frame = run.passes()
    for row in frame[frame["pass"] == frame["pass"].max()].to_dict("records"):
        of = {"method": row["method"]} | (
            {"target": row["target"]} if "target" in row else {}
        )  # where there are several
        for name, kind in (
            ("mean_tt", "true_true"),
            ("mean_tn", "true_random"),
            ("mean_ttx", "true_true_cross"),
            ("mean_tnx", "true_random_cross"),
        ):
            about = "Mean similarity by the primary measure."
            found.set("similarity", about, row[name], **of, kind=kind)
        for name, bound in (("share", "value"), ("share_low", "low"), ("share_high", "high")):
            about = "Label share of a method: of what true models agree on about a film, the part owed to the labels."
            found.set("label_share", about, row[name], **of, bound=bound)
        found.set("headroom", "What true models agree on about a film.", row["headroom"], **of)
        found.set("degenerate_ratio", "Share of maps without a similarity.", row["degenerate"], **of)
        found.set("verdict", "1 for the verdict of a method.", 1, **of, verdict=row["verdict"])
    found.set("accuracy_ratio", "Test accuracy of the true variants, mean.", row["accuracy"])


class _Gauges:
    """Gauges made when they are first set."""

    def __init__(self, labels: dict[str, str]):
        self.registry = CollectorRegistry()
        self._labels = labels
        self._gauges: dict[str, Gauge] = {}

    def set(self, name: str, about: str, value: float | None, **labels: str) -> None:
        labels = {**self._labels, **labels}
        if name not in self._gauges:
            self._gauges[name] = Gauge(f"pneumo_batch_{name}", about, list(labels), registry=self.registry)
        if value is not None:
            self._gauges[name].labels(**labels).set(float(value))
