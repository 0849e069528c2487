"""What a job would do, without doing it: images, variants, maps and bytes of every stage."""

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from pneumo_batch import pipeline, terminal
from pneumo_batch.core.attribution.options import PATHS
from pneumo_batch.core.method_names import method_of
from pneumo_batch.core.models import costs
from pneumo_batch.core.statistics import wording
from pneumo_batch.core.statistics.digits import p_is
from pneumo_batch.core.statistics.label_share import FEWEST_MODELS
from pneumo_batch.core.statistics.power import Power, power
from pneumo_batch.core.statistics.words import described
from pneumo_batch.core.variants import TRUE, arms_of
from pneumo_batch.execution import cluster
from pneumo_batch.job.schema import Job
from pneumo_batch.rundir.layout import owner
from pneumo_batch.rundir.writer import RunWriter
from pneumo_batch.stages import incremental, survey
from pneumo_batch.stages.stage import Plan, Survey
from pneumo_batch.stages.workers import trainer

_AUTO_STEPS = 100  # docs/performance.md
_NODE_CORES = 16
_LEAST = 0.01  # core-hours that are told
_LESS = f"less than {_LEAST}"


@dataclass(frozen=True)
class Hours:
    """Core-hours of attribution, and on how many nodes of a usual size they would take an hour; those of training if no
    variant stops early.
    """

    core_hours: float
    hours_here: float
    nodes_for_an_hour: int
    node_cores: int
    measured_with: str
    training_core_hours_at_most: float


@dataclass(frozen=True)
class Estimate:
    """What a job would do."""

    job: Job
    run_dir: str
    found: Survey
    plans: dict[str, Plan]
    hours: Hours
    done: list[str]  # stages

    @property
    def power(self) -> dict[str, Power]:
        """By arm what it can show, by as many patients as paths and lists tell."""
        kinds = Counter(variant.kind for variant in self.job.variants)
        patients = self.found.patients_attributed(self.job)
        return {arm: power(kinds[TRUE], kinds[arm], patients) for arm in arms_of(self.job.variants)}

    @property
    def positive(self) -> str | None:
        """The class that the one logit of two classes is of."""
        return self.found.classes[1] if len(self.found.classes) == 2 and not self.job.data.several else None

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        return {
            "name": self.job.name,
            "run_dir": self.run_dir,
            "fingerprint": self.found.fingerprint,
            "classes": self.found.classes,
            "positive": self.positive,
            "network": self.job.network.name,
            "estimate": dataclasses.asdict(self.hours),
            "power": {arm: dataclasses.asdict(one) for arm, one in self.power.items()},
            "done": self.done,
            "stages": {name: plan.numbers for name, plan in self.plans.items() if plan.numbers},
        }


def plan(job: Job, run_dir: str | None) -> Estimate:
    """Numbers of every stage. Raises JobError or DataError as the run itself would before it reads an image."""
    found = survey.survey(job)
    run = RunWriter(run_dir or str(pipeline.default_run_dir(job, found.fingerprint)))  # writes nothing here
    run.refuse_other_folder()
    done = []
    if not run.is_new:
        run.refuse_other_job(found.fingerprint)
        found = incremental.remaining(job, found, run)
        done = _done(job, found, run)
    return Estimate(job, run.path, found, pipeline.plan(job, found, run), _hours(job, found), done)


def _done(job: Job, found: Survey, run: RunWriter) -> list[str]:
    """Stages that are done; of a complete run that images have joined those that a further pass leaves as they are."""
    record = run.record
    done = [name for name, stage in record["stages"].items() if stage["status"] == "complete"]
    again = job.data.grows and record["status"] == "complete" and found.attributed(job) > 0
    return [name for name in done if owner(name).settled or not again]


def _hours(job: Job, found: Survey) -> Hours:
    hours = costs.attribution_hours(found.attributed(job), len(job.variants), job.data.image_size, _steps(job))
    hours *= costs.of_targets(len(job.attribution.targets))
    trained_on = found.images.get("train", 0) + found.images.get("val", 0)  # which is carved from train
    epochs = sum(trainer.recipe(job, variant).epochs for variant in job.trained)
    return Hours(
        core_hours=round(hours, 3),
        hours_here=round(hours / cluster.usable_cpus(), 3),
        nodes_for_an_hour=max(1, math.ceil(hours / _NODE_CORES)),
        node_cores=_NODE_CORES,
        measured_with=costs.MEASURED_NETWORK,
        training_core_hours_at_most=round(costs.training_hours(trained_on, epochs, job.data.image_size), 3),
    )


def _steps(job: Job) -> int:
    """Points on all paths of an image; 1 stands for the passes of a job without any."""
    options = job.attribution.options_by_method()
    walks = {tuple(options[name].items()): options[name]["steps"] for name in options if method_of(name) in PATHS}
    steps = [_AUTO_STEPS if wanted == "auto" else int(str(wanted)) for wanted in walks.values()]
    return sum(steps) or 1


def show(found: Estimate) -> None:
    console = terminal.console()
    table = terminal.table("stage", "would do")
    for name, plan in found.plans.items():
        table.add_row(name, "nothing: done" if name in found.done else plan.line)
    console.print(table)
    about = found.hours
    other = (
        "" if found.job.network.name == about.measured_with else f" for {about.measured_with} (your network differs)"
    )
    if found.plans["train"].numbers["epochs"] and "train" not in found.done:
        most = about.training_core_hours_at_most
        console.print(f"training       {f'at most {most:.2g}' if most >= _LEAST else _LESS} core-hours{other}")
    if "attribute" not in found.done:
        console.print(f"attribution    {_attribution(about, other)}")
    for line in _power_lines(found.power):
        console.print(f"precision      {line}")
    for arm in found.job.arms.values():
        if arm.keeps_structure:
            console.print(f"labels         {arm.name}: {described(arm)}", markup=False)
    console.print(f"classes        {_classes(found)}")
    console.print("not checked    the films: data check finds unreadable ones, and copies in two splits")
    console.print(f"run directory  {found.run_dir}")


def _attribution(about: Hours, other: str) -> str:
    if about.core_hours < _LEAST:
        return f"{_LESS} core-hours{other}"
    count = about.nodes_for_an_hour
    nodes = f"in an hour on about {count} node{'s' if count > 1 else ''} of {about.node_cores} cores"
    return f"about {about.core_hours:.2g} core-hours{other}: about {about.hours_here:.2g} hours here, {nodes}"


def _power_lines(found: Mapping[str, Power]) -> list[str]:
    """Arms of as many models in one line."""
    named: dict[str, list[str]] = {}
    for arm, one in found.items():
        named.setdefault(_power(one), []).append(arm)
    return [f"{', '.join(arms)}: {line}" for line, arms in named.items()]


def _power(one: Power) -> str:
    models = f"{one.true} + {one.others} models"
    if not one.widths or one.smallest_p is None:
        return f"{models}: inconclusive, as an interval of L over models takes {FEWEST_MODELS} + {FEWEST_MODELS}"
    listed = ", ".join(f"{width:.2f} wide where models differ {much}" for much, width in one.widths.items())
    return (
        f"{models}, at most {one.patients} patients: 95 % interval of L about {listed}; smallest {p_is(one.smallest_p)}"
    )


def _classes(found: Estimate) -> str:
    """The classes in label order, and which of two the logit is of: nothing else shows that they are swapped."""
    if found.job.data.several:
        explained = found.job.attribution.targets
        are = "are" if len(explained) > 1 else "is"
        named = ", ".join(found.job.data.several)
        return f"a logit for each of {named}; {wording.listed(explained)} {are} explained"
    listed = ", ".join(f"{label} {name}" for label, name in enumerate(found.found.classes))
    return f"{listed}; the logit is of {found.positive}" if found.positive else listed
