"""What a run holds, read once for all sections of its report.

Shapes: N images, K logits, V variants, H x W pixels.
"""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import scipy.special
import torch

from pneumo_batch.core import tables
from pneumo_batch.core.attribution.options import column_suffix
from pneumo_batch.core.data import audit, one_finding
from pneumo_batch.core.data.images import Preprocess
from pneumo_batch.core.models import evaluation
from pneumo_batch.core.models.networks import grad_cam_layer
from pneumo_batch.core.similarity import pairs, per_image
from pneumo_batch.core.similarity.per_image import Cell
from pneumo_batch.core.statistics import arms, results
from pneumo_batch.core.statistics.results import Results
from pneumo_batch.core.variants import Arm
from pneumo_batch.errors import RejectedImage
from pneumo_batch.rundir.layout import CASCADE_SUMMARY, MAPS, QUARANTINE, SCALES, SCORES
from pneumo_batch.rundir.locations import absolute
from pneumo_batch.rundir.reader import Run
from pneumo_batch.rundir.record import of_finding


@dataclass(frozen=True)
class Predictions:
    """What a variant says of the images of one split, sorted by id."""

    image_ids: list[str]
    labels_N: np.ndarray
    logits_NK: np.ndarray

    @property
    def is_binary(self) -> bool:
        return self.logits_NK.shape[1] == 1

    @cached_property
    def known(self) -> "Predictions":
        """Those of the images whose label is known."""
        kept = np.flatnonzero(self.labels_N != tables.UNKNOWN)
        return Predictions([self.image_ids[i] for i in kept], self.labels_N[kept], self.logits_NK[kept])

    @cached_property
    def probabilities(self) -> np.ndarray:
        """(N,) of label 1 among two classes, else (N, K)."""
        logits_NK = self.logits_NK.astype(np.float64)
        return scipy.special.expit(logits_NK[:, 0]) if self.is_binary else scipy.special.softmax(logits_NK, axis=1)

    def predicted(self, threshold: float) -> np.ndarray:
        """(N,) labels."""
        if self.is_binary:
            return (self.probabilities >= threshold).astype(np.int64)
        return self.logits_NK.argmax(axis=1)


class Mean(NamedTuple):
    """Of similarities, with its 95 % interval over patients."""

    mean: float
    ci_low: float
    ci_high: float


class Source:
    """Tables, models and images of a concluded run. Raises RunError before that.

    Of several findings, classes, labels, logits and numbers of the models are those of the one explained, `target`; of
    several targets those of the first, or of the one named. `finding` is the target where it has labels of its own.
    """

    def __init__(self, run: Run, target: str | None = None):
        self.run, self.job = run, run.job
        found = results.read(run.verdict)
        self.results, self.record = _as_random(found.of_target(target) if target else found), run.record
        self.models = {name: run.model_record(name) for name in run.variants()}
        self.classes: list[str] = next(iter(self.models.values()))["classes"]
        self.methods = [name for name in self.job.attribution.methods if name in self.results.methods]
        self.manifest_table = run.manifest_table()
        self.target = self.results.target
        self.finding = self.target if self.job.data.several else None
        if self.finding:
            self.classes = one_finding.classes(self.finding)
            self.models = {name: of_finding(record, self.finding) for name, record in self.models.items()}
            self.manifest_table = one_finding.divide(self.manifest_table, self.finding)
        self.manifest = self.manifest_table.to_pandas()
        self.summary = of_target(run.summary(), self.target)
        self.films = Films(run)
        self._predictions: dict[tuple[str, str], Predictions] = {}

    @property
    def variants(self) -> list[str]:
        return list(self.models)

    @property
    def true(self) -> list[str]:
        return [name for name, record in self.models.items() if record["kind"] == "true"]

    @property
    def random(self) -> list[str]:
        """Of the arm that the verdict contrasts with the true one, which most often is the random one."""
        return [name for name, record in self.models.items() if record["kind"] == self.results.contrast]

    def arm(self, variant: str) -> Arm:
        """What a model was trained on."""
        record = self.models[variant]
        told = "arm" in record or record.get("epochs") is None
        return Arm.of_record(record) if told else self.job.arms[record["kind"]]  # of a run from before it was told

    @property
    def is_binary(self) -> bool:
        return len(self.classes) == 2

    def primary(self, method: str) -> Cell:
        """The cell a method's verdict is read from."""
        chosen = self.results.primary
        return Cell(method, chosen.view, chosen.scale, chosen.metric)

    def means_of(self, cell: Cell) -> dict[str, Mean]:
        """Over all images, by kind, of those with a mean."""
        rows = self.summary[(self.summary["class_name"] == "all") & self.summary["mean"].notna()]
        for key, value in cell._asdict().items():
            rows = rows[rows[key] == value]
        columns = (rows[name] for name in ("kind", *Mean._fields))
        by_kind = {str(kind): Mean(*map(float, values)) for kind, *values in zip(*columns, strict=True)}
        called = pairs.as_contrast(self.results.contrast)
        return {called[kind]: by_kind[kind] for kind in called if kind in by_kind}

    @cached_property
    def attributed(self) -> pa.Table:
        """Identity of the images that have maps, sorted by id."""
        images = self.run.maps_table([]).sort_by("image_id")
        return one_finding.divide_images(images, self.run.manifest_table(), self.finding) if self.finding else images

    @property
    def others(self) -> list["Source"]:
        """The further targets of a run with several."""
        return [Source(self.run, target) for target in self.results.targets if target != self.target]

    def column(self, method: str, variant: str) -> str:
        """Of the maps table."""
        return f"{method}__{variant}{column_suffix(self.target, self.run.targets) if self.results.targets else ''}"

    @cached_property
    def similarities(self) -> per_image.PerImage:
        """Scores by image, in the order of `attributed`."""
        return self._every_arm.contrast(self.results.contrast)

    @property
    def _every_arm(self) -> per_image.PerImage:
        batches = self.run.scores_batches()
        if not self.results.targets:
            return per_image.gather(batches, self.attributed)
        return per_image.gather_targets(batches, dict.fromkeys(self.run.targets, self.attributed)).one[self._target]

    @property
    def _target(self) -> str:
        assert self.target is not None
        return self.target

    def scores_of(self, image_ids: list[str]) -> pd.DataFrame:
        """Every score of some images."""
        of_target = None
        if self.results.targets:
            of_target = (pc.field(tables.TARGET) == self.target) & (pc.field(tables.TARGET_B) == self.target)
        schema = self.run.scores_schema
        return self.run.store.read_images(SCORES, image_ids, schema=schema, filter=of_target).to_pandas()

    def maps_of(self, image_ids: list[str], columns: list[str]) -> pa.Table:
        """Columns of the maps table for some images; only those are held in memory."""
        return self.run.store.read_images(MAPS, image_ids, ["image_id", *columns])

    @cached_property
    def quarantine_table(self) -> pa.Table:
        return self.run.store.read_table(QUARANTINE, schema=tables.QUARANTINE)

    @cached_property
    def audit(self) -> audit.Audit:
        return audit.audit(self.manifest_table, self.quarantine_table)

    @cached_property
    def majority(self) -> float | None:
        """The balanced accuracy of always naming one training label; None without training images.

        Permuting labels keeps their counts, so that it holds for every variant trained here.
        """
        if self.finding:
            return 0.5
        labels = self.manifest.loc[self.manifest["split"] == "train", "label"]
        return 1 / labels.nunique() if len(labels) else None

    @cached_property
    def cascade_summary(self) -> pd.DataFrame | None:
        """The curves of parameter randomization; None of a run without it."""
        return self.run.cascade_summary() if self.run.store.exists(CASCADE_SUMMARY) else None

    @cached_property
    def scales(self) -> pd.DataFrame | None:
        """Agreement by grid size; None of a run from before it was measured."""
        return of_target(self.run.scales(), self.target) if self.run.store.exists(SCALES) else None

    @cached_property
    def localisation(self) -> pd.DataFrame:
        """How well each map points at the regions of its film; of a run that measured it."""
        return self.run.localisation()

    @cached_property
    def grad_cam_layers(self) -> dict[str, str]:
        """By network the layer that Grad-CAM looks at by itself; fresh weights tell it as well.

        Raises ValueError for a network whose code is not here: a report can be made where only the run is.
        """
        variants = {record["network"]: name for name, record in self.models.items()}
        with torch.random.fork_rng(devices=[]):
            return {network: grad_cam_layer(self.run.untrained(name)) for network, name in variants.items()}

    def history(self, variant: str) -> pd.DataFrame | None:
        """Training epochs; None of a variant that was brought along, or of one that is untrained."""
        if not self.run.store.exists(f"models/{variant}/history.parquet"):
            return None
        found = self.run.history(variant)
        return found if len(found) else None

    @property
    def measure(self) -> str:
        """What the `training_accuracy` of models is, in words."""
        return next(iter(self.results.variants.values())).measure

    def predictions(self, variant: str, split: str = "test") -> Predictions:
        """`answers` to the images whose label is known."""
        return self.answers(variant, split).known

    def answers(self, variant: str, split: str = "test") -> Predictions:
        """Without rows where the split has no images."""
        key = (variant, split)
        if key not in self._predictions:
            self._predictions[key] = self._read_answers(variant, split)
        return self._predictions[key]

    def _read_answers(self, variant: str, split: str) -> Predictions:
        names = self.job.data.several
        rows = self.run.predictions_table(variant)
        rows = rows.filter(pc.equal(rows["split"], split)).sort_by("image_id")
        logits_NK = evaluation.logits_of(rows, self.models[variant]["outputs"])
        if self.finding:
            rows = one_finding.divide(rows, self.finding)
            logits_NK = logits_NK[:, [names.index(self.finding)]]
        return Predictions(rows["image_id"].to_pylist(), rows["label"].to_numpy(), logits_NK)


def _as_random(found: Results) -> Results:
    """With the arm that is contrasted with the true one under the names of the random one, in whose place it stands."""
    methods = {name: arms.as_random(one, found.contrast) for name, one in found.methods.items()}
    return dataclasses.replace(found, methods=methods)


class Films:
    """Pixels of images as the networks get them. `problem` says why there are none, once reading has failed."""

    def __init__(self, run: Run):
        self._run = run
        self.problem: str | None = None

    def read(self, image_ids: list[str], size: int | None = None) -> dict[str, np.ndarray]:
        """(H, W) uint8 by id, of those that can be read: a run outlives its images. `size` is the networks' own."""
        preprocess = self._run.preprocess()
        if size:
            preprocess = dataclasses.replace(preprocess, size=size)
        with ThreadPoolExecutor() as pool:
            found = list(pool.map(lambda image_id: self._pixels(image_id, preprocess), image_ids))
        return {image_id: film for image_id, film in zip(image_ids, found, strict=True) if film is not None}

    def _pixels(self, image_id: str, preprocess: Preprocess) -> np.ndarray | None:
        if self.problem:
            return None
        try:
            return preprocess.pixels(self._run.images.read_bytes(image_id))
        except (OSError, RejectedImage, ValueError) as error:
            reason = str(error).splitlines()[0] if isinstance(error, RejectedImage) else "the file cannot be read"
            self.problem = f"The images cannot be shown: {image_id}: {reason}. {self._question()}"
            return None

    def _question(self) -> str:
        data = self._run.job.data
        relative = [] if self._run.job.is_phantom else [root for root in data.roots if absolute(root) != root]
        if relative:
            return f"Was the image folder moved, or is {relative[0]} not seen from where this report was made?"
        return "Was the image folder moved?"


def of_target(frame: pd.DataFrame, target: str | None) -> pd.DataFrame:
    """Of a table of several targets the rows of one, without the column that says so; other tables as they are."""
    if tables.TARGET not in frame:
        return frame
    return frame[frame[tables.TARGET] == target].drop(columns=tables.TARGET)


def seeded(image_ids: list[str], count: int, seed: int = 0) -> list[str]:
    """`count` ids by a rule that has nothing to do with names, labels or order."""
    return [image_ids[i] for i in pairs.hash_order(image_ids, seed)[:count]]
