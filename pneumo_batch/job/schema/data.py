"""The images of a job: `[data]`, and `[phantom]` for the generated ones."""

from typing import Literal

from pydantic import field_validator, model_validator

from pneumo_batch.core.data.options import (
    BY_SUBTYPE,
    TEST_FRACTION,
    VAL_FRACTION,
    Channels,
    Format,
    Negatives,
    Normalisation,
    Pad,
    Projection,
    Resize,
    Uncertain,
    Unmentioned,
)
from pneumo_batch.job.schema.fields import Section, neutral, result

PHANTOM = "phantom"
SIDES = 32  # what sides of a network's input are multiples of
AUTO_REGIONS, NO_REGIONS = "auto", "none"
FINDINGS_ONLY = ("uncertain", "unmentioned", "negatives", "views", "test_fraction")  # of [data]: read with findings


class Data(Section):
    """The images: where they are and how they are prepared for the network."""

    root: str | list[str] = neutral(PHANTOM)
    """Folder or URI holding train/ and test/ (val/ optional), a list of them, or "phantom" for the generated set."""
    manifest: str | None = neutral(None)  # what it says is in the fingerprint, not its place
    """Instead of folders: CSV or Parquet file with path (below root), label or findings, split, patient_id."""
    format: Format = result("folders")
    """"folders" by split and class, a "list" (manifest), or the name of a published set, as downloaded."""
    findings: list[str] | None = result(None)
    """Of a published set, or a list with a column per finding: one (NORMAL is without it), or several: a logit each."""
    uncertain: Uncertain = result("ignore")
    """What an uncertain label (-1) counts as; "ignore" leaves out the film, or with several findings that label."""
    unmentioned: Unmentioned = result("negative")
    """What a finding that a label file does not mention counts as; "ignore" as for uncertain."""
    negatives: Negatives = result("all")
    """Which films without the findings to use: "all", or "no_finding": those on which nothing at all was found."""
    views: list[Projection] | None = result(None, min_length=1)
    """Views of a published set to use (default: frontal ones, where the set says which these are)."""
    test_fraction: float = result(TEST_FRACTION, ge=0, lt=1)
    """Share of the films carved out for testing, by patient, where a published set has no test split of its own."""
    classes: list[str] | Literal["subtype"] | None = result(None)
    """Class folders in label order (default: discovered, sorted), or "subtype": pneumonia by bacteria and virus."""
    regions: str = result(AUTO_REGIONS, min_length=1)  # what it says is in the fingerprint, not its place
    """Boxes or masks that maps are compared with: "auto" (the set's own), "none", or a CSV or JSON file or a folder."""
    image_size: int = result(224, ge=SIDES, le=2048, multiple_of=SIDES)
    """Side of the square network input, pixels."""
    channels: Channels = result(1)
    """Input channels; 3 repeats the grey channel, since the colour mode of the published files leaks the label."""
    pad: Pad = result("black")
    """"black" pads to a square before resizing; "none" squashes."""
    resize: Resize = result("bilinear")
    """Resizing filter, with antialiasing."""
    normalise: Literal["train", Normalisation] | tuple[float, float] = result("train")
    """Mean and standard deviation of pixels in [0, 1]: of the train split, [mean, std], or those a library expects."""
    val_fraction: float = result(VAL_FRACTION, ge=0, lt=1)
    """Share of the training images carved out for validation, by patient; 0 keeps the shipped val/ folder."""
    split_seed: int = result(0, ge=0)
    """Seed of the carved splits."""
    max_bad: float = neutral(0.01, ge=0, le=1)
    """Share of unreadable images above which the data are rejected (exit 3)."""
    allow_leaks: bool = result(False)
    """Continue although the same image is in two splits."""
    grows: bool = result(False)
    """Images are added to test/ over time: the same command on the same run directory attributes only the new ones."""

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
            raise ValueError("findings needs format: a published set, or a list with a column per finding")
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
    def names_regions(self) -> bool:
        """Whether `regions` is a place."""
        return self.regions not in (AUTO_REGIONS, NO_REGIONS)

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
