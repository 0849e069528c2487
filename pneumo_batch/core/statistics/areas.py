"""The area under the ROC curve of many resamples of patients at once.

Wins and pairs are whole numbers, halved once: sums of them are exact in any order.
Shapes: N images, C patients, b resamples; S steps of M blocks, of neighbours by score.
"""

import numpy as np

_STEPS = 16  # images of a block: what is counted inside of one stays exact in float32 for weights up to 255
_RESAMPLES = 32  # at once, of many images
_HELD = 1 << 20  # weights of images at once, of few


class ResampledArea:
    """A positive class and the rest, sorted once; a resample is a weight of each patient."""

    def __init__(self, scores_N: np.ndarray, positive_N: np.ndarray, codes_N: np.ndarray):
        """`codes_N` are positions of patients in the weights."""
        order_N = np.argsort(scores_N, kind="stable")
        ranked_N = scores_N[order_N]
        tie_N = np.concatenate([[False], ranked_N[1:] != ranked_N[:-1]]).cumsum()
        order_N = order_N[np.lexsort((positive_N[order_N], tie_N))]  # among equals negatives first
        positive_N, codes_N = positive_N[order_N], codes_N[order_N]
        self._negative_SM, self._positive_SM = (_blocks(codes_N, of_N) for of_N in (~positive_N, positive_N))
        mixed_N = _mixed(tie_N, positive_N)
        self._tied = positive_N[mixed_N], codes_N[mixed_N], _starts(tie_N[mixed_N])

    def of(self, weights_bC: np.ndarray) -> np.ndarray:
        """(b,): the chance that a positive scores above a negative, ties counting half.

        NaN where a resample lost all positives or all negatives. Weights are whole numbers up to 255.
        """
        step = max(_RESAMPLES, _HELD // max(1, self._positive_SM.size))
        parts = [self._areas(weights_bC[start : start + step]) for start in range(0, len(weights_bC), step)]
        return np.concatenate(parts)

    def _areas(self, weights_bC: np.ndarray) -> np.ndarray:
        weights_Cb = np.zeros((weights_bC.shape[1] + 1, len(weights_bC)), np.float32)  # and nobody, who weighs nothing
        weights_Cb[:-1] = weights_bC.T
        shape = self._positive_SM.shape[1], len(weights_bC)
        negatives_Mb, positives_Mb, inside_Mb = (np.zeros(shape, np.float32) for _ in range(3))
        for negative_M, positive_M in zip(self._negative_SM, self._positive_SM, strict=True):
            negatives_Mb += weights_Cb.take(negative_M, axis=0)
            weight_Mb = weights_Cb.take(positive_M, axis=0)
            positives_Mb += weight_Mb
            weight_Mb *= negatives_Mb
            inside_Mb += weight_Mb
        below_Mb = negatives_Mb.cumsum(axis=0, dtype=np.float64)
        pairs_b = below_Mb[-1] * positives_Mb.sum(axis=0, dtype=np.float64)
        below_Mb -= negatives_Mb
        below_Mb *= positives_Mb
        wins_b = inside_Mb.sum(axis=0, dtype=np.float64) + below_Mb.sum(axis=0) - self._ties(weights_Cb) / 2
        return np.divide(wins_b, pairs_b, out=np.full(len(pairs_b), np.nan), where=pairs_b > 0)

    def _ties(self, weights_Cb: np.ndarray) -> np.ndarray:
        """(b,): pairs of a positive and a negative with one score, which count as won until half is taken away."""
        positive_N, codes_N, starts_G = self._tied
        if not len(codes_N):
            return np.zeros(weights_Cb.shape[1])
        weights_Nb = weights_Cb.take(codes_N, axis=0).astype(np.float64)
        positive_Gb = np.add.reduceat(weights_Nb * positive_N[:, None], starts_G, axis=0)
        all_Gb = np.add.reduceat(weights_Nb, starts_G, axis=0)
        return (positive_Gb * (all_Gb - positive_Gb)).sum(axis=0)


def _blocks(codes_N: np.ndarray, of_N: np.ndarray) -> np.ndarray:
    """(S, M): codes of the patients of some images, nobody's (the last of all, -1) for the others and for what is left
    of the last block.
    """
    blocks = max(1, -(-len(codes_N) // _STEPS))
    padded = np.full(blocks * _STEPS, -1)
    padded[: len(codes_N)] = np.where(of_N, codes_N, -1)
    return np.ascontiguousarray(padded.reshape(blocks, _STEPS).T)


def _mixed(tie_N: np.ndarray, positive_N: np.ndarray) -> np.ndarray:
    """Whether an image shares its score with one of the other class."""
    counts_G, positive_G = np.bincount(tie_N), np.bincount(tie_N, weights=positive_N)
    return ((positive_G > 0) & (positive_G < counts_G))[tie_N]


def _starts(tie_N: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.diff(tie_N, prepend=-1))
