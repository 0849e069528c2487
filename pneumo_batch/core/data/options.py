"""What a job may choose of images and splits. Light: the command line reads job files with it."""

from typing import Literal, get_args

Split = Literal["train", "val", "test"]
SPLITS: tuple[str, ...] = get_args(Split)
Channels = Literal[1, 3]
Pad = Literal["black", "none"]
Resize = Literal["bilinear", "bicubic", "area", "lanczos"]
Normalisation = Literal["imagenet", "torchxrayvision"]  # what a library's models expect
Published = Literal["nih", "chexpert", "mimic-cxr-jpg", "padchest", "vindr", "rsna", "siim"]
Format = Literal["folders", "list", Published]
Generated = Literal[Published, "list"]  # formats that the phantom is written in, beside folders
GENERATED: tuple[str, ...] = get_args(Generated)
Uncertain = Literal["ignore", "positive", "negative"]
Unmentioned = Literal["negative", "ignore"]
Negatives = Literal["all", "no_finding"]  # without anything else either
WITHOUT, WITH_ANY = "NORMAL", "FINDING"
OF_SEVERAL = (WITHOUT, WITH_ANY)  # classes of films with several findings: without any of them, with one or more
Projection = Literal["PA", "AP", "LATERAL"]
Unit = Literal["image", "patient"]  # whose labels are exchanged by a permutation
Stratum = Literal["view", "sex", "site", "subtype", "mode"]  # columns of the manifest
TEST_FRACTION, VAL_FRACTION = 0.2, 0.1
BY_SUBTYPE: Literal["subtype"] = "subtype"
