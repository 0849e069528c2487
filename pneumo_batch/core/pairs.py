"""Which pairs of maps are scored, of which kind, and which other image an image is crossed with."""

import hashlib
from collections.abc import Sequence

import numpy as np

EDGE = "edge"  # kinds, and the name of the reference map in the `variant_b` column
RANDOM_MAP = "random_map"
WITHIN_KINDS = ("true_true", "true_random", "random_random")
CROSS_KINDS = ("true_true_cross", "true_random_cross", "random_random_cross")
KINDS = (*WITHIN_KINDS, *CROSS_KINDS, EDGE, RANDOM_MAP)

Pair = tuple[str, str]


def plan(variants: Sequence[tuple[str, bool]]) -> dict[str, list[Pair]]:
    """The pairs (variant_a, variant_b) of each kind, for variants given as (name, trained on true labels).

    `variant_a` is explained on the image itself; `variant_b` too, except in the cross kinds, where it is explained on
    the image's partner. With a single true variant `true_true_cross` pairs that model with itself (`same_model_floor`).
    """
    true = [name for name, is_true in variants if is_true]
    random = [name for name, is_true in variants if not is_true]
    true_random = [(a, b) for a in true for b in random]
    return {
        "true_true": _unordered(true),
        "true_random": true_random,
        "random_random": _unordered(random),
        "true_true_cross": _ordered(true) if len(true) != 1 else [(true[0], true[0])],
        "true_random_cross": true_random,
        "random_random_cross": _ordered(random),
        EDGE: [(a, EDGE) for a in true],
        RANDOM_MAP: [(a, RANDOM_MAP) for a in true],
    }


def same_model_floor(variants: Sequence[tuple[str, bool]]) -> bool:
    """Whether the floor of the ceiling compares one model with itself: too high, since a model's maps look alike."""
    return sum(is_true for _, is_true in variants) == 1


def hash_order(image_ids: Sequence[str], seed: int) -> np.ndarray:
    """(N,) int64: the positions of the ids in the order of sha256(f"{seed}:{image_id}").

    An order that has nothing to do with names, labels or workers, and that any reader can recompute.
    """
    digests = b"".join(hashlib.sha256(f"{seed}:{image_id}".encode()).digest() for image_id in image_ids)
    words_N4 = np.frombuffer(digests, dtype=">u8").reshape(-1, 4).astype(np.uint64)
    return np.lexsort(words_N4.T[::-1])


def partners(image_ids: Sequence[str], patient_ids: Sequence[str], seed: int) -> np.ndarray:
    """(N,) int64: for each image the position of the one it is crossed with.

    It is the next image in the cyclic `hash_order` that shows another patient, or the next image where all show one.
    A single image has no other and is its own partner.
    """
    order_N = hash_order(image_ids, seed)
    if len(order_N) == 0:
        return order_N
    patients_N = np.unique(np.asarray(patient_ids), return_inverse=True)[1][order_N]
    # Between an image and the next change of patient all images are of its patient, so that change is its partner.
    changes = np.flatnonzero(patients_N != np.roll(patients_N, 1))
    here_N = np.arange(len(order_N))
    if len(changes) == 0:
        next_N = (here_N + 1) % len(order_N)
    else:
        next_N = changes[np.searchsorted(changes, here_N, side="right") % len(changes)]
    partners_N = np.empty_like(order_N)
    partners_N[order_N] = order_N[next_N]
    return partners_N


def image_rng(image_id: str, seed: int) -> np.random.Generator:
    """The generator of one image's random map: the same for any worker, batch or order."""
    digest = hashlib.sha256(f"{seed}:{RANDOM_MAP}:{image_id}".encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))


def _ordered(names: Sequence[str]) -> list[Pair]:
    return [(a, b) for a in names for b in names if a != b]


def _unordered(names: Sequence[str]) -> list[Pair]:
    return [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
