"""Maps of chosen images as files for other programs: PNG overlays, NumPy arrays, NIfTI volumes. Needs no Ray.

Shapes: V variants, h x w pixels of a stored map, H x W of the network's input.
"""

import csv
import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pneumo_batch.core import table_columns
from pneumo_batch.core.attribution.options import column_suffix
from pneumo_batch.errors import RunError
from pneumo_batch.rundir.reader import Run

if TYPE_CHECKING:
    from nibabel import Nifti1Image

INDEX = "index.csv"
_COLUMNS = ["file", "image_id", "method", "variant"]
_SUFFIXES = {"png": ".png", "npy": ".npy", "nifti": ".nii.gz"}
_LONGEST = 80


@dataclass(frozen=True)
class Choice:
    """What to export; an empty tuple takes all. Without `images`, at most `limit` of them by a seeded rule."""

    images: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    limit: int | None = None


@dataclass(frozen=True)
class _Row:
    """One image under one method and target: the maps of all chosen variants."""

    image_id: str
    method: str
    target: str
    maps_Vhw: np.ndarray
    film_HW: np.ndarray | None  # the PNG alone needs it


def export(run: Run, choice: Choice, form: str, folder: Path) -> int:
    """Write one file per image, method, variant and target and list them in `index.csv`; returns how many.

    `npy` and `nifti` hold the map as the run does: signed, float32, at its own resolution; `png` is the signed map laid
    over the film at the network's resolution. Files of earlier exports into the folder stay listed. Raises RunError for
    names the run does not have, for images that cannot be read, for another index.csv, and where nibabel is missing.
    """
    write = _writer(form, run)
    methods = _known(choice.methods, run.job.attribution.methods, "method", run)
    variants = _known(choice.variants, run.variants(), "variant", run)
    targets = _known(choice.targets, run.targets, "target", run)
    ids = _images(choice, run)
    columns = [*_COLUMNS, *(["target"] if len(run.targets) > 1 else [])]
    listed = _listed(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for row in _rows(run, ids, _Names(methods, variants, targets), with_films=form == "png"):
        for place, variant in enumerate(variants):
            name = file_name(row.image_id, row.method, variant + column_suffix(row.target, run.targets))
            write(folder / f"{name}{_SUFFIXES[form]}", row, place)
            values = (f"{name}{_SUFFIXES[form]}", row.image_id, row.method, variant, row.target)
            lines.append(dict(zip(columns, values, strict=False)))
    _list(folder, columns, {row["file"]: row for row in [*listed, *lines]})
    return len(lines)


def _listed(folder: Path) -> list[dict[str, str]]:
    """What earlier exports into a folder list, of files that are still there. Raises RunError for another table."""
    if not (folder / INDEX).exists():
        return []
    with (folder / INDEX).open(newline="", encoding="utf-8", errors="replace") as file:
        reader = csv.DictReader(file)
        if list(reader.fieldnames or [])[:4] != _COLUMNS:
            raise RunError(f"{folder / INDEX}: does not list an export; choose another folder")
        return [row for row in reader if (folder / row["file"]).is_file()]


def _list(folder: Path, columns: list[str], rows: dict[str, dict[str, str]]) -> None:
    """Write `index.csv`, with targets where a row has one."""
    every = list(dict.fromkeys([*columns, *(name for row in rows.values() for name in row)]))
    with (folder / INDEX).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, every, restval="")
        writer.writeheader()
        writer.writerows(rows.values())


class _Names(NamedTuple):
    """What is taken of each image."""

    methods: list[str]
    variants: list[str]
    targets: list[str]


def file_name(image_id: str, method: str, variant: str) -> str:
    """`<image>-<digest>.<method>.<variant>`: safe anywhere, different for different ids, without the suffix.

    `variant` ends as a column of maps does, with a further target.
    """
    digest = hashlib.sha256(image_id.encode()).hexdigest()[:8]
    readable = _safe(image_id.rpartition("/")[2].rpartition(".")[0] or image_id)
    return f"{readable[-_LONGEST:]}-{digest}.{_safe(method)}.{variant}"


def _safe(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "_", text)


def _known(wanted: tuple[str, ...], there: list[str], word: str, run: Run) -> list[str]:
    for name in wanted:
        if name not in there:
            raise RunError(f"{run.path}: no {word} {name!r}; there are: {', '.join(there)}")
    return list(wanted) or there


def _images(choice: Choice, run: Run) -> list[str]:
    from pneumo_batch.report.source import seeded

    there = sorted(run.maps_table([])["image_id"].to_pylist())
    if not choice.images:
        return seeded(there, choice.limit or len(there))
    missing = sorted(set(choice.images) - set(there))
    if missing:
        if missing[0] in run.manifest_table(["image_id"])["image_id"].to_pylist():
            raise RunError(f"{run.path}: no maps of image {missing[0]!r}: it was not attributed; {there[0]} was")
        raise RunError(f"{run.path}: no maps of image {missing[0]!r}; ids are those of the manifest, e.g. {there[0]}")
    return list(dict.fromkeys(choice.images))


def _rows(run: Run, ids: list[str], names: _Names, *, with_films: bool) -> Iterator[_Row]:
    """Image by image: a run's maps need not fit into memory."""
    from pneumo_batch.report.source import Films

    films = Films(run)
    rows = {
        (method, target): [f"{method}__{variant}{column_suffix(target, run.targets)}" for variant in names.variants]
        for method in names.methods
        for target in names.targets
    }
    for image_id in ids:
        table = run.maps_table([column for columns in rows.values() for column in columns], image_ids=[image_id])
        film_HW = films.read([image_id]).get(image_id) if with_films else None
        if films.problem:
            raise RunError(f"{run.path}: {films.problem}")
        for (method, target), columns in rows.items():
            maps = [table_columns.tensor_array(table[column])[0] for column in columns]
            yield _Row(image_id, method, target, np.stack(maps), film_HW)


def _writer(form: str, run: Run) -> Callable[[Path, _Row, int], None]:
    if form == "png":
        return _write_png
    if form == "npy":
        return lambda path, row, place: np.save(path, row.maps_Vhw[place])
    try:
        import nibabel
    except ImportError as error:
        raise RunError("--format nifti needs nibabel: pip install 'pneumo-batch[nifti]'") from error
    size = run.job.data.image_size
    return lambda path, row, place: nibabel.save(nifti(row.maps_Vhw[place], size), path)


def _write_png(path: Path, row: _Row, place: int) -> None:
    from pneumo_batch.core.similarity import metrics
    from pneumo_batch.report.figures import overlays

    assert row.film_HW is not None
    map_HW = metrics.resize(row.maps_Vhw[place][None], len(row.film_HW))[0]
    limit = overlays.limit(np.nan_to_num(row.maps_Vhw))  # the variants of an image share a scale
    overlays.blend(row.film_HW, map_HW, limit).save(path)


def nifti(map_hw: np.ndarray, size: int) -> "Nifti1Image":
    """A map as a NIfTI image (w, h, 1) whose unit is a pixel of the network's input, `size` pixels a side.

    The first axis runs to the patient's left, the second down: a viewer shows the map as the film is shown. Maps of any
    resolution lie on each other, since the affine places the centre of each of their pixels.
    """
    import nibabel

    steps = np.array([size / map_hw.shape[1], size / map_hw.shape[0]])
    affine = np.diag([-steps[0], -steps[1], 1.0, 1.0])
    affine[:2, 3] = -(steps - 1) / 2
    return nibabel.Nifti1Image(np.ascontiguousarray(map_hw.T[:, :, None], dtype=np.float32), affine)
