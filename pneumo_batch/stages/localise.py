"""Do maps point at what films show? The part of conclude that needs boxes and masks.

Films are measured that have a finding by their label and a region of it; of many, a seeded rule chooses.
Shapes: S x S pixels of a network's input.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pneumo_batch.core import table_columns, tables
from pneumo_batch.core.attribution.located import Films, Pointing, mean_masks, measured
from pneumo_batch.core.attribution.options import LABEL, POSITIVE
from pneumo_batch.core.data.regions.truth import Truths
from pneumo_batch.core.similarity import controls, pairs
from pneumo_batch.core.statistics.localisation import Key, Measured
from pneumo_batch.core.statistics.pointing import EDGE, MEAN_MASK, OTHERS, TRAINED, MaskOf
from pneumo_batch.core.variants import Variant, names_of
from pneumo_batch.errors import RejectedImage
from pneumo_batch.job.schema import Job
from pneumo_batch.rundir.reader import Run

MOST_FILMS = 300  # of a finding, measured: the interval of a mean is then narrower than that between models
_ROWS = 8  # images whose maps are in memory


class Explained(NamedTuple):
    """A finding and the end of the names of the columns that hold its maps."""

    finding: str
    suffix: str = ""


def explained(job: Job, classes: Sequence[str]) -> list[Explained]:
    """What a run's maps explain: findings or classes, or each film's own class."""
    asked = job.attribution
    if asked.target == POSITIVE:
        return [Explained(classes[1])]
    if asked.target == LABEL:
        return [Explained(name) for name in classes]
    return [Explained(name, suffix) for name, suffix in zip(asked.targets, asked.suffixes, strict=True)]


def measure(job: Job, run: Run, variants: Sequence[Variant]) -> list[Measured]:
    """The values of every map of a film that shows what it explains; of a run without regions none."""
    regions, manifest = run.regions_table(), run.manifest_table(looks=False)
    classes = run.model_record(variants[0].name)["classes"]
    known = set(regions["finding"].unique().to_pylist())
    found = [one for one in explained(job, classes) if one.finding in known]
    return [_Measuring(job, run, variants, regions, manifest).of(one) for one in found]


class _Measuring:
    """What measuring one finding after the other has in common."""

    def __init__(self, job: Job, run: Run, variants: Sequence[Variant], regions: pa.Table, manifest: pa.Table):
        self.job, self.run, self.variants = job, run, variants
        self.regions, self.manifest = regions, manifest
        self.attributed = run.maps_table([]).sort_by("image_id")
        self.patients = dict(zip(manifest["image_id"].to_pylist(), manifest["patient_id"].to_pylist(), strict=True))

    def of(self, one: Explained) -> Measured:
        truths = Truths(self.regions, self.manifest, one.finding, self.run.preprocess())
        shown = self._showing(one.finding, truths)
        attributed = set(self.attributed["image_id"].to_pylist())
        there = [image_id for image_id in shown if image_id in attributed]
        films = self._films(there, truths)
        trained = [image_id for image_id, split in shown.items() if split == "train"]
        mask_of, baselines = self._baselines(films, self._films(trained, truths))
        values = {**self._maps(films, one.suffix), **baselines} if len(films) else {}
        return Measured(one.finding, films.image_ids, films.patient_ids, len(there), films.inside_N, mask_of, values)

    def _showing(self, finding: str, truths: Truths) -> dict[str, str]:
        """The split of each image with the finding, by its label, and a region of it."""
        column = f"{tables.LABELS}{finding}"
        several = column in self.manifest.column_names
        has = pc.equal(self.manifest[column], 1) if several else pc.equal(self.manifest["class_name"], finding)
        rows = self.manifest.filter(pc.and_(has, pc.is_in(self.manifest["image_id"], pa.array(truths.image_ids))))
        return dict(zip(rows["image_id"].to_pylist(), rows["split"].to_pylist(), strict=True))

    def _films(self, image_ids: Sequence[str], truths: Truths) -> Films:
        """At most so many, by a seeded rule, which is that of the order of the maps table."""
        order = pairs.hash_order(image_ids, self.job.compare.partner_seed)[:MOST_FILMS]
        chosen = [image_ids[i] for i in order]
        return Films(chosen, [self.patients[image_id] for image_id in chosen], truths.of(chosen))

    def _baselines(self, films: Films, trained: Films) -> tuple[MaskOf | None, dict[Key, np.ndarray]]:
        """Those that need no map: the mean mask of training films, or of the other films without any, and edges."""
        if not len(films):
            return None, {}
        found = {MEAN_MASK: measured(films, mean_masks(films, trained if len(trained) else films))}
        found[EDGE] = measured(films, self._edges(films))
        defined = {name: values_NM for name, values_NM in found.items() if not np.isnan(values_NM).all()}
        kept: dict[Key, np.ndarray] = {(None, name): values_NM for name, values_NM in defined.items()}
        mask_of: MaskOf = TRAINED if len(trained) else OTHERS
        return mask_of if (None, MEAN_MASK) in kept else None, kept

    def _edges(self, films: Films) -> Iterator[np.ndarray | None]:
        """None of a film that is not there any more: a run outlives its images."""
        preprocess, images = self.run.preprocess(), self.run.images
        for image_id in films.image_ids:
            try:
                yield controls.sobel_edges(preprocess.pixels(images.read_bytes(image_id)))
            except (OSError, RejectedImage):
                yield None

    def _maps(self, films: Films, suffix: str) -> dict[Key, np.ndarray]:
        names = [(method, one.name) for method in self.job.attribution.methods for one in self.variants]
        columns = {f"{method}__{variant}{suffix}": (method, variant) for method, variant in names}
        pointing = Pointing(films, self._partners(), names_of(self.variants, "true"), self.job.data.image_size)
        for batch in self.run.maps_batches(list(columns), pointing.image_ids, _ROWS):
            ids = batch["image_id"].to_pylist()
            for column, key in columns.items() if ids else []:
                for image_id, map_hw in zip(ids, table_columns.tensor_array(batch[column]), strict=True):
                    pointing.add(image_id, *key, map_hw)
        return pointing.values()

    def _partners(self) -> Mapping[str, str]:
        """The film of another patient that compare crosses each with first."""
        ids, patients = (self.attributed[name].to_pylist() for name in ("image_id", "patient_id"))
        places_N1 = pairs.partners(ids, patients, self.job.compare.partner_seed)
        return {image_id: ids[place] for image_id, place in zip(ids, places_N1[:, 0], strict=True) if place >= 0}
