"""Which pairs of maps are scored, of which kind, and which other image an image is crossed with."""

import hashlib
from collections.abc import Sequence

import numpy as np

from pneumo_batch.core.variants import RANDOM, TRUE, Variant, arms_of, names_of

EDGE = "edge"  # kinds, and the name of the reference map in the `variant_b` column
RANDOM_MAP = "random_map"
WITHIN_KINDS = ("true_true", "true_random", "random_random")
CROSS_KINDS = ("true_true_cross", "true_random_cross", "random_random_cross")
KINDS = (*WITHIN_KINDS, *CROSS_KINDS, EDGE, RANDOM_MAP)  # of true and random models; other arms have kinds of theirs
CROSS = "_cross"  # what kinds of two films end in
# Of a run with several targets beside these, which are of one: the maps of two targets, by two models or by one.
TWO_TARGETS, ONE_MODEL = "two_targets", "two_targets_one_model"
TWO_TARGETS_CROSS, ONE_MODEL_CROSS = f"{TWO_TARGETS}{CROSS}", f"{ONE_MODEL}{CROSS}"
TARGET_KINDS = (TWO_TARGETS, ONE_MODEL)

# Images of other patients that each is crossed with. At region scale they cost next to nothing, and 16 give intervals
# of the label share that are within 6 % of those from all images (docs/statistics.md); at pixel scale each costs as
# much as the image itself.
PARTNERS = {"region": 16, "pixel": 1}

Pair = tuple[str, str]


def plan(variants: Sequence[Variant]) -> dict[str, list[Pair]]:
    """The pairs (variant_a, variant_b) of each kind, by name.

    Both are explained on the image itself, except in the cross kinds: there one is explained on the image and the other
    on images of other patients (`partners`), both ways. With a single true variant `true_true_cross` pairs that model
    with itself (`same_model_floor`). Models of two arms are paired where one of them is the true one.
    """
    true = names_of(variants, TRUE)
    within = {"true_true": _unordered(true)}
    for arm in arms_of(variants) or [RANDOM]:
        others = names_of(variants, arm)
        within |= {f"true_{arm}": [(a, b) for a in true for b in others], f"{arm}_{arm}": _unordered(others)}
    crossed = {f"{kind}{CROSS}": found for kind, found in within.items()}
    if len(true) == 1:
        crossed["true_true_cross"] = [(true[0], true[0])]
    return {**within, **crossed, EDGE: [(a, EDGE) for a in true], RANDOM_MAP: [(a, RANDOM_MAP) for a in true]}


def is_cross(kind: str) -> bool:
    """Whether its two maps are of two films."""
    return kind.endswith(CROSS)


def is_within(kind: str) -> bool:
    """Whether its two maps are of two models on one film, and of one target."""
    return not is_cross(kind) and kind not in (EDGE, RANDOM_MAP, *TARGET_KINDS)


def as_contrast(arm: str) -> dict[str, str]:
    """The kinds that contrast an arm with the true one, and what they are called where the arm is the random one."""
    named = {"true_true": "true_true", f"true_{arm}": "true_random", f"{arm}_{arm}": "random_random"}
    crossed = {f"{kind}{CROSS}": f"{called}{CROSS}" for kind, called in named.items()}
    return {**named, **crossed, EDGE: EDGE, RANDOM_MAP: RANDOM_MAP}


def between_targets(variants: Sequence[Variant]) -> dict[str, list[Pair]]:
    """The pairs of true models whose maps of two targets are compared, by kind.

    The first of a pair is explained for the first target and the second for the second, so that both orders are there.
    """
    true = names_of(variants, "true")
    two, one = [(a, b) for a in true for b in true if a != b], [(a, a) for a in true]
    return {TWO_TARGETS: two, ONE_MODEL: one, TWO_TARGETS_CROSS: two, ONE_MODEL_CROSS: one}


def same_model_floor(variants: Sequence[Variant]) -> bool:
    """Whether the floor of the ceiling compares one model with itself: too high, since a model's maps look alike."""
    return sum(variant.is_true for variant in variants) == 1


def hash_order(image_ids: Sequence[str], seed: int) -> np.ndarray:
    """(N,) int64: the positions of the ids in the order of sha256(f"{seed}:{image_id}").

    An order that has nothing to do with names, labels or workers, and that any reader can recompute.
    """
    digests = b"".join(hashlib.sha256(f"{seed}:{image_id}".encode()).digest() for image_id in image_ids)
    words_N4 = np.frombuffer(digests, dtype=">u8").reshape(-1, 4).astype(np.uint64)
    return np.lexsort(words_N4.T[::-1])


def partners(
    image_ids: Sequence[str], patient_ids: Sequence[str] | np.ndarray, seed: int, count: int = 1
) -> np.ndarray:
    """(N, count) int32: for each image the positions of those it is crossed with, -1 where there are fewer.

    `patient_ids` may be any codes of them.

    They are the next images in the cyclic `hash_order` that show other patients; where all show one patient, the next
    image. A single image has no other and is its own partner.
    """
    order_N = hash_order(image_ids, seed)
    images = len(order_N)
    patients_N = np.unique(np.asarray(patient_ids), return_inverse=True)[1][order_N] if images else order_N
    there_N = images - np.bincount(patients_N, minlength=1)[patients_N]  # images of other patients
    found_NC, filled_N = np.full((images, count), -1, dtype=np.int32), np.zeros(images, dtype=np.int64)
    if images and not there_N.any():
        found_NC[:, 0] = (np.arange(images) + 1) % images
    for step in range(1, images):
        open_M = np.flatnonzero(filled_N < np.minimum(there_N, count))
        if not len(open_M):
            break
        next_M = (open_M + step) % images
        other_M = patients_N[next_M] != patients_N[open_M]
        found_NC[open_M[other_M], filled_N[open_M[other_M]]] = next_M[other_M]
        filled_N[open_M[other_M]] += 1
    order_N, partners_NC = order_N.astype(np.int32), np.empty_like(found_NC)
    partners_NC[order_N] = np.where(found_NC < 0, np.int32(-1), order_N[found_NC])
    return partners_NC


def map_rng(image_id: str, method: str, view: str, seed: int) -> np.random.Generator:
    """The generator of one image's random maps by a method and view.

    The same for any worker, batch or order, and whatever other methods there are.
    """
    digest = hashlib.sha256(f"{seed}:{RANDOM_MAP}:{method}:{view}:{image_id}".encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))


def _unordered(names: Sequence[str]) -> list[Pair]:
    return [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
