"""What the arms of a job ask of its films: columns that are told, labels that can move."""

from collections.abc import Callable, Sequence
from typing import get_args

import pyarrow as pa
import pyarrow.compute as pc

from pneumo_batch.core.data.options import Stratum
from pneumo_batch.core.models import labels, programs
from pneumo_batch.core.variants import RANDOM, Arm
from pneumo_batch.errors import JobError
from pneumo_batch.execution import progress
from pneumo_batch.job.schema import ArmSpec, Job
from pneumo_batch.rundir.writer import RunWriter


def columns(job: Job) -> list[str]:
    """The columns that labels are permuted within, or are of."""
    used = [name for arm in job.arms.values() for name in (*arm.within, *filter(None, [arm.column]))]
    return list(dict.fromkeys(used))


def check(job: Job, classes: Sequence[str]) -> None:
    """Raises JobError for an arm of another column where networks have more logits than one, or of a finished file."""
    for arm in job.arms.values():
        if arm.network and programs.is_file(arm.network):
            raise JobError(
                f"{_field(arm, 'network')}: {arm.network}: a file cannot be trained, as it has no fresh weights"
            )
        if arm.column and len(classes) != 2:
            raise JobError(f"{_field(arm, 'labels')}: another column needs a job of two classes, not {len(classes)}")


def check_network(arm: ArmSpec, shapes: Callable[[str], object]) -> None:
    """Raise JobError, with the arm's name, where methods cannot explain its network; `shapes` tries it."""
    assert arm.network is not None
    try:
        shapes(arm.network)
    except JobError as error:
        raise JobError(f"arm.{arm.name}.network: {error}") from error


def check_told(job: Job, rows: pa.Table) -> None:
    """Raise JobError where `rows` (of a listing or the manifest) tell nothing of a column that an arm needs."""
    known = [name for name in get_args(Stratum) if name in rows.column_names]
    told = [name for name in known if rows[name].null_count < rows.num_rows]
    for arm in job.arms.values():
        for field, names in (("within", arm.within), ("labels", filter(None, [arm.column]))):
            for name in names:
                if name in known and name not in told:
                    purpose = "to permute within" if field == "within" else "to learn"
                    there = f"they give {', '.join(told)}" if told else f"nor any other column {purpose}"
                    raise JobError(f"{_field(arm, field)}: the data give no film's {name}; {there}")


def check_columns(job: Job, rows: pa.Table) -> None:
    """Raises JobError where a column that an arm learns has not two values; `rows` is the manifest."""
    for arm in job.arms.values():
        if arm.column:
            try:
                labels.column_values(rows, arm.column)
            except ValueError as error:
                raise JobError(f"{_field(arm, 'labels')}: {error}") from error


def structures(job: Job, run: RunWriter, rows: pa.Table) -> dict[str, labels.Exchange]:
    """By arm between which training films labels may move, where not between all. Raises JobError where none can."""
    check_told(job, rows)
    kinds = {variant.kind for variant in job.trained}
    training = rows.filter(pc.equal(rows["split"], "train")).sort_by("image_id")
    return {
        arm.name: _structure(arm, run, training)
        for arm in job.arms.values()
        if arm.keeps_structure and arm.name in kinds
    }


def _structure(arm: Arm, run: RunWriter, training: pa.Table) -> labels.Exchange:
    structure = labels.exchange(training, arm.unit, arm.within)
    fixed = structure.fixed(training["label"].to_numpy())
    field = _field(arm, "within" if arm.unit == "image" else "unit")
    why = "all films they could be exchanged with have the same ones"
    if fixed == training.num_rows:
        raise JobError(f"{field}: no label can change: {why}")
    if fixed:
        progress.warn(
            run,
            "train",
            f"{field}: {fixed} of {training.num_rows} labels are the same in every permutation: {why}",
        )
    return structure


def _field(arm: Arm, name: str) -> str:
    """As the job file calls it."""
    return f"train.random_{name}" if arm.name == RANDOM else f"arm.{arm.name}.{name}"
