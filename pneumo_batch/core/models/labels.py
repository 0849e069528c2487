"""The labels that a variant is trained on."""

import numpy as np

from pneumo_batch.core.variants import Variant

_PERMUTATION = 0x1ABE1  # keeps the stream of the permutation apart from other uses of a variant's seed


def training_labels(variant: Variant, labels_N: np.ndarray) -> np.ndarray:
    """Labels (N,) the variant is trained on: as they are, or permuted once with the variant's own seed.

    Of several findings (N, K) the rows are permuted as a whole: findings that come together do so after it, and what is
    not known of a film goes with the rest of its row.
    `labels_N` must be in the order of the sorted image ids, so that a variant's permutation depends on nothing else.
    """
    assert variant.seed is not None, "a variant brought along is not trained"
    if variant.is_true:
        return labels_N
    return np.random.default_rng([variant.seed, _PERMUTATION]).permutation(labels_N)
