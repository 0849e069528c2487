"""The networks of a run, what they say of its images, and the images as they are given to them."""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa

from pneumo_batch.core import tables
from pneumo_batch.core.data.roots import Roots
from pneumo_batch.core.models import answers
from pneumo_batch.errors import DamagedError, RunError, did_you_mean
from pneumo_batch.job import schema
from pneumo_batch.rundir.checksums import Checksums
from pneumo_batch.rundir.integrity import sha256
from pneumo_batch.rundir.layout import MODELS, PHANTOM, PROGRAM
from pneumo_batch.rundir.locations import absolute, open_roots
from pneumo_batch.rundir.reader.directory import RunDirectory
from pneumo_batch.rundir.record import ModelRecord

if TYPE_CHECKING:
    import torch

    from pneumo_batch.core.data.images import Preprocess


class RunModels(RunDirectory):
    """Everything in `models/`, and the network inputs."""

    def variants(self) -> list[str]:
        """Names of the models that are there, in the order of the maps columns."""
        selector = pa.fs.FileSelector(self.store.path("models"), allow_not_found=True)
        names = [info.base_name for info in self.store.fs.get_file_info(selector)]
        present = [name for name in names if self.store.exists(f"models/{name}/model.json")]
        return sorted(present, key=lambda name: (self.model_record(name)["kind"] != "true", name))

    def model_record(self, variant: str) -> ModelRecord:
        """The content of model.json. Raises RunError for a variant the run does not have."""
        return self.store.read_json(self._of_model(variant, "model.json"))

    def _of_model(self, variant: str, file: str) -> str:
        name = f"{MODELS}/{variant}/{file}"
        if not self.store.has(name):
            known = [one.name for one in self.job.variants]
            if variant not in known:
                hint = did_you_mean(variant, known)
                raise RunError(f"{self.path}: no variant {variant!r}{hint}; there are: {', '.join(known)}")
        return self._need(name, "train")

    def history(self, variant: str) -> pd.DataFrame:
        """One row per training epoch; raises RunError for a variant that was brought along."""
        return self.store.read_table(self._of_model(variant, "history.parquet")).to_pandas()

    def predictions_table(self, variant: str) -> pa.Table:
        """What a variant says of each image, and the labels: of classes, and of several findings one each."""
        schema = tables.with_labels(tables.PREDICTIONS, self.job.data.several)
        return self.store.read_table(f"models/{variant}/predictions.parquet", schema=schema)

    def unanswered(self) -> dict[str, str]:
        """The images for which some variant has no finite output, and why: no predictions table has them."""
        return {
            image_id: answers.no_answer(name, value)
            for name in reversed(self.variants())  # the first that has none is named
            for image_id, value in self.model_record(name).get("unanswered", {}).items()
        }

    def model(self, variant: str) -> "torch.nn.Module":
        """The trained network in eval mode on the CPU. Raises DamagedError for weights that are not those written."""
        from pneumo_batch.core.models import checkpoints

        model = self.untrained(variant)
        checkpoints.load_state(model, self._checked(f"{MODELS}/{variant}", "model.safetensors"))
        return model.eval()

    def untrained(self, variant: str) -> "torch.nn.Module":
        """The network of a variant with fresh weights, from torch's current random state (a file has its own)."""
        from pneumo_batch.core.models import networks

        record, preprocess = self.model_record(variant), self.preprocess(variant)
        shape = {"image_size": preprocess.size, "channels": preprocess.channels, "outputs": record["outputs"]}
        if self.store.exists(f"{MODELS}/{variant}/{PROGRAM}"):
            program = self._checked(f"{MODELS}/{variant}", PROGRAM)
            return networks.program(record["network"], program, **shape)
        return networks.build(record["network"], **shape)

    def _checked(self, model: str, name: str) -> bytes:
        """The content of a file of a model, if it is what the model's list says."""
        data, wanted = self.store.read_bytes(f"{model}/{name}"), Checksums(self.store).list_of_model(model)
        if wanted.get(f"{model}/{name}", sha256(data)) != sha256(data):
            raise DamagedError(f"{self.path}/{model}/{name}: damaged: not what was written")
        return data

    def preprocess(self, variant: str | None = None) -> "Preprocess":
        """How images become the network inputs of a variant (default: the first). Raises RunError without any model."""
        from pneumo_batch.core.data.images import Preprocess

        name = variant or next(iter(self.variants()), None)
        if name is None:
            self.record  # noqa: B018 - says so if this is no run at all
            raise RunError(f"{self.path}: no {MODELS} yet; the stage 'train' writes them")
        return Preprocess.from_dict(self.model_record(name)["preprocess"])

    def inputs(self, ids: Sequence[str], variant: str | None = None) -> "torch.Tensor":
        """The exact network inputs (N, C, H, W) float32 of images, read from the data root.

        `variant` matters only where variants were brought with preprocessing of their own (default: the first).
        Raises RunError for an image that is not there.
        """
        import torch

        if isinstance(ids, str):  # else its letters were looked for
            raise TypeError(f"ids: a list of image ids is needed, not one: [{ids!r}]")
        preprocess = self.preprocess(variant)
        none = torch.empty(0, preprocess.channels, preprocess.size, preprocess.size)  # what no images are
        return torch.cat([none, *(preprocess.inputs(preprocess.pixels(self._file(name))[None]) for name in ids)])

    def _file(self, image_id: str) -> bytes:
        try:
            return self.images.read_bytes(image_id)
        except FileNotFoundError as error:
            places = [f"{self.path}/{PHANTOM}"] if self.job.is_phantom else map(absolute, self.job.data.roots)
            place = ", ".join(places)
            raise RunError(f"{image_id}: no such image in {place}; ids are those of the manifest") from error

    def baseline(self, variant: str | None = None, method: str = "integrated_gradients") -> "torch.Tensor":
        """The Integrated Gradients baseline (1, C, H, W) float32, or that of a setting, "integrated_gradients@mean".

        Raises ValueError where it depends on the image.
        """
        from pneumo_batch.core.attribution import baselines

        options = self.job.attribution.options_by_method().get(method, {})
        name = str(options.get("baseline", self.job.attribution.integrated_gradients.baseline))
        return baselines.baseline_input(name, self.preprocess(variant))

    @functools.cached_property
    def images(self) -> Roots:
        """The folder or folders the manifest's image ids are relative to, seen from where it is first asked for."""
        return self._roots(self.job)

    def _roots(self, job: schema.Job) -> Roots:
        if job.is_phantom:
            return Roots.one(self.store.fs, self.store.path(PHANTOM))
        return open_roots(job.data.root)
