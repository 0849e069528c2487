"""The same film under another size, encoding or exposure: found by a hash of what it shows, in two splits.

Shapes: N, A, B films; K bits of a key; C cells of a film.
"""

import functools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from pneumo_batch.core.data.looks import NEARLY_CONSTANT

_SIDE, _OVER = 64, 4  # the film is seen as 64 x 64 means, of 4 x 4 points each
_SLOWEST = 16  # cosine coefficients a side
_BITS = _SLOWEST**2
# Of 5840 published films (17 million pairs) two different ones differ in 40 bits or more; 600 of them from copies of
# another size, format, quality or exposure in 16 or less (20 where every second pixel was dropped); 56 published
# originals from what a third party made of them in 14 or less.
MOST_BITS = 20
# With millions of films some pair of different ones comes as near by chance: the means of their 8 x 8 cells must agree
# too. Those of copies correlate with 0.995 or more, those of the nearest different films in one of 27 pairs with 0.99.
LEAST_CORRELATION = 0.99
# So many keys of so many bits of the hash: two films that share a key are looked at. A copy that differs in 14 bits
# shares one of them with a probability above 0.999, in 20 of 0.98; of a million pairs of different films one shares a
# given key.
_KEYS, _KEY_BITS = 32, 24
_PER_KEY = 64  # films of a split that share a key; with more it is one film many times over
_CHUNK = 16384  # films: at most a million pairs at a time
_ONES = np.array([bin(value).count("1") for value in range(256)], np.uint8)


class Copy(NamedTuple):
    """Two films that show the same; `bits` of their hashes differ."""

    first: str
    second: str
    bits: int


def perceptual_hash(gray: Image.Image) -> bytes:
    """32 bytes of a film of mode L: which of its 16 x 16 slowest cosine coefficients are above their median.

    Zauner 2010 (pHash), as many bits as in PDQ. Stretching a film to another shape changes little, cropping much.
    """
    side = _SIDE * _OVER
    means_HW = np.asarray(gray.resize((side, side), Image.Resampling.NEAREST).reduce(_OVER), np.float64)
    slowest = _cosines() @ means_HW @ _cosines().T
    ordered = np.sort(slowest, axis=None)
    median = (ordered[_BITS // 2 - 1] + ordered[_BITS // 2]) / 2  # np.median takes thrice as long
    return np.packbits(slowest > median).tobytes()


@functools.cache
def _cosines() -> np.ndarray:
    """(16, 64): those of a side alone take a fifth of the time of all 64 x 64 coefficients."""
    from scipy.fft import dct  # here: every worker imports this module, and few of them see a new film

    return dct(np.eye(_SIDE), axis=0, norm="ortho")[:_SLOWEST]


def copies(images: pd.DataFrame, split: str, other: str) -> list[Copy]:
    """Of each film of `split` that `other` has a copy of, the nearest; sorted. Byte-identical ones are left out.

    `images` are rows of a manifest. Time and memory grow with the films, not with their pairs.
    """
    firsts, seconds = (_looked_at(images, name) for name in (split, other))
    if firsts.empty or seconds.empty:
        return []
    a, b, bits = _near(_bytes(firsts["hash"]), _bytes(seconds["hash"]))
    different = firsts["sha256"].to_numpy()[a] != seconds["sha256"].to_numpy()[b]
    sure = different & (_correlations(firsts["cells"], seconds["cells"], a, b) >= LEAST_CORRELATION)
    found = pd.DataFrame({"a": a[sure], "b": b[sure], "bits": bits[sure]}).sort_values(["a", "bits", "b"])
    nearest = found.drop_duplicates("a").itertuples(index=False)
    return sorted(Copy(firsts["image_id"][k], seconds["image_id"][j], int(bits)) for k, j, bits in nearest)


def _looked_at(images: pd.DataFrame, split: str) -> pd.DataFrame:
    columns = ["image_id", "sha256", "hash", "cells", "gray_low", "gray_high"]
    there = images.loc[images["split"] == split, columns].dropna()
    return there[there["gray_high"] - there["gray_low"] >= NEARLY_CONSTANT].reset_index(drop=True)


def _bytes(column: pd.Series) -> np.ndarray:
    """(N, bytes) uint8."""
    return np.frombuffer(b"".join(column), np.uint8).reshape(len(column), -1)


def _near(first_AH: np.ndarray, second_BH: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs that share a key and differ in MOST_BITS or fewer: positions among the first and second, and the bits."""
    found = [np.empty((0, 3), np.int64)]
    rng = np.random.default_rng(0)
    first_HA, second_HB = (np.ascontiguousarray(hashes.T) for hashes in (first_AH, second_BH))
    for _ in range(_KEYS):
        bits_K = rng.choice(_BITS, _KEY_BITS, replace=False)
        for a, b in _candidates(_keys(first_HA, bits_K), _keys(second_HB, bits_K)):
            differing = _ONES[first_AH[a] ^ second_BH[b]].sum(axis=1, dtype=np.int64)
            near = differing <= MOST_BITS
            found.append(np.stack([a[near], b[near], differing[near]], axis=1))
    return tuple(np.unique(np.concatenate(found), axis=0).T)


def _keys(hashes_HN: np.ndarray, bits_K: np.ndarray) -> np.ndarray:
    """(N,) those bits of each hash as one number."""
    key_N: np.ndarray = np.zeros(hashes_HN.shape[1], np.uint32)
    for bits_8 in bits_K.reshape(-1, 8).tolist():  # as integers of numpy they would make 8 bytes of each byte
        byte_N = np.zeros(hashes_HN.shape[1], np.uint8)
        for k, bit in enumerate(bits_8):
            byte_N |= (hashes_HN[bit // 8] >> (7 - bit % 8) & 1) << k
        key_N = key_N << 8 | byte_N
    return key_N


def _candidates(first_A: np.ndarray, second_B: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of positions whose keys are equal, a part at a time."""
    ordered, order = _sorted(second_B)
    asked, places_A = _sorted(first_A)  # neighbours are looked for one after the other: their memory is near
    for start in range(0, len(first_A), _CHUNK):
        places, keys = places_A[start : start + _CHUNK], asked[start : start + _CHUNK]
        begin = np.searchsorted(ordered, keys, "left")
        counts = np.minimum(np.searchsorted(ordered, keys, "right") - begin, _PER_KEY)
        a = np.repeat(np.arange(len(keys)), counts)
        nth = np.arange(len(a)) - np.repeat(np.cumsum(counts) - counts, counts)
        yield places[a], order[begin[a] + nth]


def _sorted(keys_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keys below 2^32 in their order, and the position of each, equal ones as they stood: numbers sort in a tenth of
    the time of positions.
    """
    both_N = keys_N.astype(np.uint64) << np.uint64(32) | np.arange(len(keys_N), dtype=np.uint64)
    both_N.sort()
    return (both_N >> np.uint64(32)).astype(np.uint32), (both_N & np.uint64(0xFFFFFFFF)).astype(np.int64)


def _correlations(first: pd.Series, second: pd.Series, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson's of the cells of each pair; 0 where those of one are constant."""
    x, y = _bytes(first)[a].astype(float), _bytes(second)[b].astype(float)
    x, y = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    return np.divide((x * y).sum(axis=1), lengths, out=np.zeros(len(a)), where=lengths > 0)
