"""The models of a job: `[network]` and `[train]`, and a `[[variant]]` for each brought along."""

from typing import Literal

from pydantic import field_validator, model_validator

from pneumo_batch.core import variants
from pneumo_batch.core.data.options import Channels, Normalisation, Stratum, Unit
from pneumo_batch.core.variants import Variant
from pneumo_batch.job.schema.fields import Section, Seed, neutral, no_repeats, result


class Network(Section):
    """The classifier."""

    name: str = result("cnn5", min_length=1)
    """cnn5, a torchvision name, torchxrayvision:densenet121, "module:callable", or a program (*.pt, *.pt2: is run)."""
    weights: str = result("none", min_length=1)
    """What training starts from: "none", "imagenet" (torchvision's file, if its cache has it), or a file of weights."""


class Train(Section):
    """One recipe for true and random variants; they differ only in their labels and seeds."""

    true_seeds: list[Seed] = result([0])
    """One variant `true_<seed>` per seed, trained on the true labels."""
    random_seeds: list[Seed] = result([100])
    """One variant `random_<seed>` per seed, trained on labels permuted with that seed."""
    random_unit: Unit = result("image")
    """What is permuted: each "image" by itself, or each "patient" as a whole, among those with as many films."""
    random_within: list[Stratum] = result([])
    """Permute only among films with the same values of these: view, sex, site, subtype, mode."""
    epochs: int = result(15, ge=1)
    """Epochs of true variants."""
    max_epochs: int = result(80, ge=1)
    """Maximum epochs of random variants; they stop once they have memorised their labels."""
    memorise: float = result(variants.MEMORISED, gt=0, le=1)
    """Balanced accuracy on the training labels (eval mode; of several findings, of each) that counts as memorised."""
    patience: int = result(0, ge=0)
    """True variants stop after this many epochs without a better validation loss; 0 never stops early."""
    batch_size: int = result(32, ge=2)
    """Images per step, over all workers."""
    learning_rate: float = result(3e-4, gt=0)
    """Adam's step size."""
    sampler: Literal["weighted", "shuffle"] = result("weighted")
    """"weighted" draws classes (with and without a finding) equally often; "shuffle" takes each image once an epoch."""
    plateau: Literal["train", "val", "none"] = result("train")
    """The loss whose plateau halves the learning rate."""
    plateau_patience: int = result(3, ge=1)
    """Epochs without a loss lower by 0.01 % that are let pass; one more halves the learning rate."""
    amp: bool = result(False)
    """Mixed precision on GPUs."""
    workers: int = result(1, ge=1)
    """Data-parallel workers per variant. More workers give other weights (batch norm), hence other results."""
    max_failures: int = neutral(3, ge=0)
    """Worker failures a variant survives."""
    checkpoint_seconds: float = neutral(30.0, ge=0)
    """Minimum time between two checkpoints of one variant."""

    @model_validator(mode="after")
    def _seeds_apart(self) -> "Train":
        seeds = self.true_seeds + self.random_seeds
        if len(set(seeds)) < len(seeds):
            raise ValueError("true_seeds and random_seeds must not share or repeat a seed")
        return self

    _no_repeats = field_validator("random_within")(no_repeats)

    @property
    def variants(self) -> list[Variant]:
        """Those to be trained."""
        true = [variants.trained("true", seed) for seed in self.true_seeds]
        return true + [variants.trained("random", seed) for seed in self.random_seeds]


class VariantSpec(Section):
    """A variant brought along instead of trained: one `[[variant]]` table each."""

    name: str = result(pattern=variants.NAME_PATTERN)
    """Name of the variant, used in columns and folders."""
    kind: variants.ShortForm = result()
    """Whether it was trained on true or on random labels."""
    checkpoint: str = neutral(min_length=1)  # its content is in the fingerprint, not its place
    """File of weights: safetensors, or a state dict that torch loads with weights_only."""
    normalise: Normalisation | tuple[float, float] | None = result(None)
    """What it was trained with: mean and standard deviation of pixels in [0, 1], or a name (default: as in [data])."""
    channels: Channels | None = result(None)
    """Input channels it was trained with (default: those of [data])."""
    outputs: list[str] | None = result(None, min_length=1)
    """Names of all its outputs, in order, where they are not those of the job: the job's are picked by name."""

    @field_validator("outputs")
    @classmethod
    def _different(cls, value: list[str] | None) -> list[str] | None:
        named = [name for name in value or [] if name]  # "" is an output of nothing
        if len(set(named)) < len(named):
            raise ValueError("names an output twice")
        return value

    @field_validator("normalise")
    @classmethod
    def _positive_std(cls, value: str | tuple[float, float] | None) -> str | tuple[float, float] | None:
        if isinstance(value, tuple) and value[1] <= 0:
            raise ValueError("the standard deviation must be above 0")
        return value
