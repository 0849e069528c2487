"""What a job file may say: one TOML file describes one run.

Every field is declared with `result` (it changes results, so it is part of the fingerprint) or `neutral` (it does not).
A field declared with neither fails a test: a missed one would let a run resume with other people's numbers.
"""

import difflib
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from pneumo_batch.core import variants
from pneumo_batch.core.attribution.options import (
    GRAD_CAM,
    INTEGRATED_GRADIENTS,
    POSITIVE,
    Baseline,
    GradCam,
    IntegratedGradients,
    Rule,
)
from pneumo_batch.core.data.options import (
    BY_SUBTYPE,
    TEST_FRACTION,
    Channels,
    Format,
    Negatives,
    Normalisation,
    Pad,
    Projection,
    Resize,
    Split,
    Stratum,
    Uncertain,
    Unit,
    Unmentioned,
)
from pneumo_batch.core.similarity.options import (
    METRICS,
    REGION_GRID,
    REGION_METRICS,
    SMALLEST_SIDE,
    Scale,
    View,
)
from pneumo_batch.core.statistics.options import RESAMPLES, THRESHOLD
from pneumo_batch.core.variants import Variant

# Raised when the same job on the same data gives other numbers than before: old runs are then not resumed.
RESULTS_VERSION = 2
PHANTOM = "phantom"
FINDINGS_ONLY = ("uncertain", "unmentioned", "negatives", "views", "test_fraction")  # of [data]: read with findings
_PATH = IntegratedGradients()


def result(default: Any = ..., **constraints: Any) -> Any:
    """A field that changes results: part of the fingerprint."""
    return Field(default, json_schema_extra={"changes_results": True}, **constraints)


def neutral(default: Any = ..., **constraints: Any) -> Any:
    """A field that changes no result: left out of the fingerprint."""
    return Field(default, json_schema_extra={"changes_results": False}, **constraints)


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class Data(Section):
    """The images: where they are and what the network is given of them."""

    root: str | list[str] = neutral(PHANTOM)
    """Folder or URI holding train/ and test/ (val/ optional), a list of them, or "phantom" for the generated set."""
    manifest: str | None = neutral(None)  # what it says is in the fingerprint, not its place
    """CSV or Parquet file of path (below root), label or findings, split, patient_id, instead of folders."""
    format: Format = result("folders")
    """"folders" by split and class, a "list" (manifest), or the name of a published set as it was downloaded."""
    findings: list[str] | None = result(None)
    """Of a published set, or a list with a column a finding: one (NORMAL is without it), or several: a logit each."""
    uncertain: Uncertain = result("ignore")
    """What an uncertain label (-1) counts as; "ignore" leaves the film out, of several findings that label."""
    unmentioned: Unmentioned = result("negative")
    """What a finding counts as that a label file does not mention; "ignore" leaves out as with uncertain."""
    negatives: Negatives = result("all")
    """Films without any of the findings: "all", or "no_finding": only those on which nothing was found at all."""
    views: list[Projection] | None = result(None, min_length=1)
    """Views of a published set to use (default: frontal ones, where the set says which these are)."""
    test_fraction: float = result(TEST_FRACTION, ge=0, lt=1)
    """Share of the films carved out for testing, by patient, where a published set has no test split of its own."""
    classes: list[str] | Literal["subtype"] | None = result(None)
    """Class folders in label order (default: discovered, sorted), or "subtype": pneumonia by bacteria and virus."""
    image_size: int = result(224, ge=32, le=2048, multiple_of=32)
    """Side of the square network input, pixels."""
    channels: Channels = result(1)
    """Input channels; 3 repeats the grey channel, since the colour mode of the published files leaks the label."""
    pad: Pad = result("black")
    """"black" pads to a square before resizing; "none" squashes."""
    resize: Resize = result("bilinear")
    """Filter that resizes, with antialiasing."""
    normalise: Literal["train", Normalisation] | tuple[float, float] = result("train")
    """Mean and deviation of pixels in [0, 1]: the training split's, [mean, std], or what a library's models expect."""
    val_fraction: float = result(0.1, ge=0, lt=1)
    """Share of the training images carved out for validation, by patient; 0 keeps the shipped val/ folder."""
    split_seed: int = result(0, ge=0)
    """Seed of the splits that are carved."""
    max_bad: float = result(0.01, ge=0, le=1)
    """Share of unreadable images above which the data are rejected (exit 3)."""
    allow_leaks: bool = result(False)
    """Go on although the same image stands in two splits."""
    grows: bool = result(False)
    """Images join test/ from time to time: the same command on the same run directory attributes those only."""

    @field_validator("root")
    @classmethod
    def _some_root(cls, value: str | list[str]) -> str | list[str]:
        roots = [value] if isinstance(value, str) else value
        if not roots or not all(roots) or len(set(roots)) < len(roots):
            raise ValueError("needs a folder or URI, or a list of different ones")
        return value

    @field_validator("views", "findings")
    @classmethod
    def _no_repeats(cls, value: list[str] | None) -> list[str] | None:
        if value is not None and (not value or len(set(value)) < len(value)):
            raise ValueError("needs one or more different names")
        return value

    @field_validator("classes")
    @classmethod
    def _distinct(cls, value: list[str] | str | None) -> list[str] | str | None:
        if isinstance(value, list) and (len(value) < 2 or len(set(value)) < len(value)):
            raise ValueError("needs two or more different class names")
        return value

    @field_validator("normalise")
    @classmethod
    def _positive_std(cls, value: str | tuple[float, float]) -> str | tuple[float, float]:
        if not isinstance(value, str) and value[1] <= 0:
            raise ValueError("the standard deviation must be above 0")
        return value

    @model_validator(mode="before")
    @classmethod
    def _a_manifest_is_a_list(cls, values: object) -> object:
        if isinstance(values, dict) and values.get("manifest") is not None:
            return {"format": "list", **values}
        return values

    @model_validator(mode="after")
    def _manifest_fits(self) -> "Data":
        if (self.manifest is None) == (self.format == "list"):
            missing = 'format = "list" needs manifest: the file that lists the images'
            raise ValueError(f'manifest needs format = "list", not "{self.format}"' if self.manifest else missing)
        if self.manifest is not None and self.root == PHANTOM:
            raise ValueError("manifest needs root: the folder its paths are relative to")
        if self.manifest is not None and self.classes == BY_SUBTYPE:
            raise ValueError('classes = "subtype" is for folders; give the subtypes as labels in the manifest')
        return self

    @model_validator(mode="after")
    def _findings_fit(self) -> "Data":
        if self.is_published and (self.root == PHANTOM or not isinstance(self.root, str)):
            raise ValueError(f'root: format = "{self.format}" needs one folder or URI, the set as it was downloaded')
        if self.findings is None:
            self._read_labels_by_class()
        elif self.format == "folders":
            raise ValueError("findings needs format: a published set, or a list with a column a finding")
        elif self.classes is not None:
            raise ValueError("classes: with findings they are NORMAL and the finding; leave classes out")
        if self.grows and self.is_published:
            raise ValueError(f'grows: images can join folders and lists, not format = "{self.format}"')
        return self

    def _read_labels_by_class(self) -> None:
        """Raises ValueError where a field says how to read findings, of which there are none."""
        if self.is_published:
            raise ValueError(f'findings: format = "{self.format}" needs one, such as ["Pneumonia"]')
        for name in FINDINGS_ONLY:
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} needs findings: it says how their labels are read")

    @property
    def several(self) -> list[str]:
        """The findings of a network with a logit each, in their order; empty where there is one, or classes."""
        return list(self.findings) if self.findings and len(self.findings) > 1 else []

    @property
    def is_published(self) -> bool:
        return self.format not in ("folders", "list")

    @property
    def roots(self) -> list[str]:
        return [self.root] if isinstance(self.root, str) else self.root


class Phantom(Section):
    """The generated data set; read only with `data.root = "phantom"`."""

    train: int = result(400, ge=8)
    """Training images."""
    test: int = result(96, ge=4)
    """Test images."""
    seed: int = result(0, ge=0)
    """Seed of the generator."""
    image_size: int = result(224, ge=32, le=4096)
    """Side of the generated files, pixels."""


class Network(Section):
    """The classifier."""

    name: str = result("cnn5", min_length=1)
    """cnn5, a torchvision name, torchxrayvision:densenet121, "module:callable", or a program (*.pt, *.pt2: is run)."""
    weights: str = result("none", min_length=1)
    """What training starts from: "none", "imagenet" (torchvision's file, if its cache has it), or a file of weights."""


class Train(Section):
    """One recipe for true and random variants alike; they differ by their labels and seeds only."""

    true_seeds: list[int] = result([0])
    """One variant `true_<seed>` each, trained on the true labels."""
    random_seeds: list[int] = result([100])
    """One variant `random_<seed>` each, trained on labels permuted with that seed."""
    random_unit: Unit = result("image")
    """Whose labels are exchanged: every image's alone, or a patient's as a whole, with one who has as many films."""
    random_within: list[Stratum] = result([])
    """Permute only among films with the same values of these: view, sex, site, subtype, mode."""
    epochs: int = result(15, ge=1)
    """Epochs of true variants."""
    max_epochs: int = result(80, ge=1)
    """Most epochs of random variants; they stop once they have memorised their labels."""
    memorise: float = result(variants.MEMORISED, gt=0, le=1)
    """Training accuracy (eval mode; of several findings balanced, each) that counts as having memorised."""
    patience: int = result(0, ge=0)
    """True variants stop after so many epochs without a better validation loss; 0 never stops early."""
    batch_size: int = result(32, ge=2)
    """Images a step, over all workers."""
    learning_rate: float = result(3e-4, gt=0)
    """Adam's step size."""
    sampler: Literal["weighted", "shuffle"] = result("weighted")
    """"weighted" draws classes (with and without a finding) equally often; "shuffle" takes each image once an epoch."""
    plateau: Literal["train", "val", "none"] = result("train")
    """The loss whose plateau halves the learning rate."""
    plateau_patience: int = result(3, ge=1)
    """Epochs without progress before the learning rate is halved."""
    amp: bool = result(False)
    """Mixed precision on GPUs."""
    workers: int = result(1, ge=1)
    """Data-parallel workers a variant. More workers give other weights (batch norm), hence other results."""
    max_failures: int = neutral(3, ge=0)
    """Worker failures a variant survives."""
    checkpoint_seconds: float = neutral(30.0, ge=0)
    """Least time between two checkpoints of one variant."""

    @model_validator(mode="after")
    def _seeds_apart(self) -> "Train":
        seeds = self.true_seeds + self.random_seeds
        if len(set(seeds)) < len(seeds):
            raise ValueError("true_seeds and random_seeds must not share or repeat a seed")
        return self

    @field_validator("random_within")
    @classmethod
    def _no_repeats(cls, value: list[str]) -> list[str]:
        if len(set(value)) < len(value):
            raise ValueError("names an entry twice")
        return value

    @property
    def keeps_structure(self) -> bool:
        """Whether labels are permuted otherwise than freely among all films."""
        return self.random_unit != "image" or bool(self.random_within)

    @property
    def variants(self) -> list[Variant]:
        """Those to be trained."""
        true = [variants.trained("true", seed) for seed in self.true_seeds]
        return true + [variants.trained("random", seed) for seed in self.random_seeds]


class IntegratedGradientsOptions(Section):
    steps: Annotated[int, Field(ge=1)] | Literal["auto"] = result(_PATH.steps)
    """Points on the path from the baseline to the image, or "auto": as many as an image needs for `tolerance`."""
    tolerance: float = result(_PATH.tolerance, gt=0)
    """With steps = "auto": the relative error of map and completeness that is small enough."""
    baseline: Baseline = result(_PATH.baseline)
    """Where the path starts."""
    rule: Rule = result(_PATH.rule)
    """Quadrature rule."""


class GradCamOptions(Section):
    layer: str = result(GradCam().layer)
    """Module path of the layer, or "auto"."""


class Attribution(Section):
    """Which maps are computed, of which images, of which output."""

    methods: list[str] = result([INTEGRATED_GRADIENTS, GRAD_CAM], min_length=1)
    """Attribution methods by name, or "module:function"."""
    splits: list[Split] = result(["test"], min_length=1)
    """Splits whose images are attributed."""
    limit: int | None = result(None, ge=1)
    """Attribute at most so many images, chosen by a seeded rule."""
    target: str = result(POSITIVE)
    """The explained output: "positive" (two classes), a class or finding, or "label" (the image's own class)."""
    integrated_gradients: IntegratedGradientsOptions = IntegratedGradientsOptions()
    """Points on the path ("auto" for tolerance), its start (black, mean, white, blur, noise), the quadrature rule."""
    grad_cam: GradCamOptions = GradCamOptions()
    """The layer: a module path, or auto for the last convolution."""
    allow_tf32: bool = result(False)
    """Faster and less exact products on GPUs; the report says so."""
    rows_per_file: int = neutral(64, ge=1)
    """Images a file of the maps table: what an interruption can cost."""
    store_derived: bool = neutral(False)
    """Keep the maps of networks derived without training (cascade) too, in derived/; they are many."""

    @field_validator("methods", "splits")
    @classmethod
    def _no_repeats(cls, value: list[str]) -> list[str]:
        if len(set(value)) < len(value):
            raise ValueError("names an entry twice")
        return value

    def options_by_method(self) -> dict[str, dict[str, object]]:
        """Options of each method as keyword arguments."""
        known: dict[str, Section] = {INTEGRATED_GRADIENTS: self.integrated_gradients, GRAD_CAM: self.grad_cam}
        return {method: known[method].model_dump() if method in known else {} for method in self.methods}


class Primary(Section):
    view: View = result("magnitude")
    """View the verdict is read from."""
    scale: Scale = result("region")
    """Scale the verdict is read from."""
    metric: str = result("spearman")
    """Metric the verdict is read from, one of `metrics`."""


class Compare(Section):
    """How maps are compared and the verdict is drawn."""

    metrics: list[str] = result(list(METRICS), min_length=1)
    """Similarity metrics: spearman, pearson, ssim, hog, top10, or "module:function"."""
    region_grid: int = result(REGION_GRID, ge=2, le=64)
    """Cells a side of the region scale."""
    primary: Primary = Primary()
    """What the verdict is read from."""
    threshold: float = result(THRESHOLD, gt=0, lt=1)
    """Label share that divides sensitive from insensitive: the part of what true models agree on that labels own."""
    partner_seed: int = result(0, ge=0)
    """Seed of the rule that pairs an image with another one for the cross-image controls."""
    resamples: int = result(RESAMPLES, ge=100)
    """Bootstrap resamples of the patients."""

    @model_validator(mode="before")
    @classmethod
    def _no_margin(cls, values: object) -> object:
        if isinstance(values, dict) and "margin" in values:
            raise ValueError(
                "margin is gone: a verdict no longer compares TT - TN with a margin, but the label share with"
                " compare.threshold (default 0.5); leave margin out"
            )
        return values

    @field_validator("metrics")
    @classmethod
    def _known(cls, value: list[str]) -> list[str]:
        for name in value:
            if name not in METRICS and ":" not in name:
                close = difflib.get_close_matches(name, METRICS, n=1)
                hint = f" (did you mean {close[0]}?)" if close else ""
                known = ", ".join(METRICS)
                raise ValueError(f"unknown metric {name!r}{hint}: choose module:function or one of {known}")
        if len(set(value)) < len(value):
            raise ValueError("names an entry twice")
        return value

    @model_validator(mode="after")
    def _primary_is_measured(self) -> "Compare":
        if self.primary.metric not in self.metrics:
            raise ValueError(f"primary.metric {self.primary.metric!r} is not one of compare.metrics")
        if self.primary.scale == "region" and self.primary.metric in set(METRICS) - set(REGION_METRICS):
            raise ValueError(f"primary.metric {self.primary.metric!r} is not defined at the region scale")
        return self


class Cascade(Section):
    """Parameter randomization: a trained variant whose layers are re-initialised, without training."""

    seeds: list[Annotated[int, Field(ge=0)]] = result([])
    """One re-initialisation each, two or more for a curve that is not one draw's; without any the stage is off."""
    variant: str | None = result(None)
    """The trained variant (default: the first true one)."""
    images: int = result(64, ge=1)
    """Use at most so many of the attributed images, chosen by a seeded rule."""
    independent: bool = result(True)
    """Also re-initialise each layer alone."""

    @field_validator("seeds")
    @classmethod
    def _no_repeats(cls, value: list[int]) -> list[int]:
        if len(set(value)) < len(value):
            raise ValueError("names an entry twice")
        return value


class Cluster(Section):
    """Where the job runs. Never part of the fingerprint."""

    address: str = neutral("local")
    """"local" starts Ray here; "auto" or ray://host:10001 joins a running cluster."""
    actors: int | tuple[int, int] | Literal["auto"] = neutral("auto")
    """Attribution actors; "auto" takes one for each CPU or GPU share there is; [least, most] grow with the cluster."""
    gpus_per_actor: float | Literal["auto"] = neutral("auto")
    """GPU share of an attribution actor; "auto" takes a whole GPU where there is one."""
    trainings: int | Literal["auto"] = neutral("auto")
    """Variants trained at once; "auto" takes as many as fit."""
    stall_seconds: float = neutral(3600.0, gt=0)
    """An image that one worker sits on for longer, all variants together, goes to the quarantine."""

    @field_validator("actors", "trainings")
    @classmethod
    def _at_least_one(cls, value: int | tuple[int, int] | str) -> int | tuple[int, int] | str:
        if not isinstance(value, str) and min(value if isinstance(value, tuple) else (value,)) < 1:
            raise ValueError("must be 1 or more, or auto")
        if isinstance(value, tuple) and value[0] > value[1]:
            raise ValueError("must not begin with more than it ends with")
        return value

    @field_validator("gpus_per_actor")
    @classmethod
    def _a_share(cls, value: float | str) -> float | str:
        if not isinstance(value, str) and (value < 0 or (value > 1 and value != int(value))):
            raise ValueError("must be between 0 and 1, a whole number, or auto")
        return value


class VariantSpec(Section):
    """A variant brought along instead of trained: one `[[variant]]` table each."""

    name: str = result(pattern=variants.NAME_PATTERN)
    """Name of the variant, used in columns and folders."""
    kind: variants.Kind = result()
    """Whether it was trained on true or on random labels."""
    checkpoint: str = neutral(min_length=1)  # its content is in the fingerprint, not its place
    """File of weights: safetensors, or a state dict that torch loads with weights_only."""
    normalise: Normalisation | tuple[float, float] | None = result(None)
    """What it was trained with: mean and standard deviation of pixels in [0, 1], or a name (default: as in [data])."""
    channels: Channels | None = result(None)
    """Input channels it was trained with (default: those of [data])."""
    outputs: list[str] | None = result(None, min_length=1)
    """What each of its outputs is of, in order, where it has others than the job asks for: those are picked by name."""

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


class Job(Section):
    """A job file, resolved."""

    name: str = neutral(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    """Short name; the run directory starts with it."""
    data: Data = Data()
    phantom: Phantom = Phantom()
    network: Network = Network()
    train: Train = Train()
    attribution: Attribution = Attribution()
    compare: Compare = Compare()
    cascade: Cascade = Cascade()
    cluster: Cluster = Cluster()
    variant: list[VariantSpec] = []

    @model_validator(mode="after")
    def _consistent(self) -> "Job":
        names = [spec.name for spec in self.variant]
        if len(set(names)) < len(names):
            raise ValueError("variant: two [[variant]] tables share a name")
        for metric in self.compare.metrics:
            if self.data.image_size < (least := SMALLEST_SIDE.get(metric, 1)):
                raise ValueError(
                    f"compare.metrics: {metric} needs data.image_size of {least} or more; leave {metric} out"
                )
        if self.data.grows and (self.is_phantom or self.attribution.limit or self.attribution.splits != ["test"]):
            raise ValueError('data.grows needs a data.root of your own, attribution.splits = ["test"] and no limit')
        if self.compare.region_grid > self.data.image_size:
            raise ValueError("compare.region_grid is larger than data.image_size")
        names += [variant.name for variant in self.train.variants]
        if self.cascade.variant is not None and self.cascade.variant not in names:
            raise ValueError(f"cascade.variant: no variant {self.cascade.variant!r}; there are: {', '.join(names)}")
        return self

    @property
    def variants(self) -> list[Variant]:
        """Every variant, trained and brought."""
        return self.train.variants + [Variant(spec.name, spec.kind) for spec in self.variant]

    @property
    def is_phantom(self) -> bool:
        return self.data.root == PHANTOM
