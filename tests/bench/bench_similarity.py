"""All pairs of an image at once against scipy, NumPy and scikit-image called pair by pair.

Set OMP_NUM_THREADS=1 to compare on one core: the pair-by-pair loop uses no more.
"""

import statistics
import time
from collections.abc import Callable

import numpy as np
import scipy.ndimage
import scipy.stats
import skimage.feature
import skimage.metrics

from pneumo_batch.core.similarity import controls, options, pairs
from pneumo_batch.core.similarity import metrics as similarity
from pneumo_batch.core.similarity.features import Features
from pneumo_batch.core.variants import Variant

GRID = 8
VARIANTS = [Variant(f"true_{i}", "true") for i in range(4)] + [Variant(f"random_{i}", "random") for i in range(4)]
BENCHED_KINDS = ("true_true", "true_random", "random_random", "true_true_cross", "true_random_cross", "edge")


def images(count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Signed maps (images, 8, H, W) and edge maps (images, 1, H, W), float32."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((count, len(VARIANTS), size, size))
    maps = scipy.ndimage.gaussian_filter(noise, (0, 0, 2, 2)).astype(np.float32)
    edges = np.stack([controls.sobel_edges(rng.random((size, size))) for _ in range(count)])[:, None]
    return maps, edges


def positions() -> dict[str, np.ndarray]:
    index = {variant.name: i for i, variant in enumerate(VARIANTS)} | {pairs.EDGE: 0}
    plan = pairs.plan(VARIANTS)
    return {kind: np.array([(index[a], index[b]) for a, b in plan[kind]]) for kind in BENCHED_KINDS}


def ours(maps: np.ndarray, edges: np.ndarray) -> list[np.ndarray]:
    """Every image once, its partner being the next: features of a partner are kept, as the stage keeps them."""
    out = []
    for view in options.VIEWS:
        features = [Features(similarity.apply_view(m, "saliency", view), view, GRID) for m in maps]
        for i, own in enumerate(features):
            others = {"edge": Features(edges[i], view, GRID)}
            others |= dict.fromkeys(pairs.CROSS_KINDS, features[(i + 1) % len(maps)])
            for kind, pairs_P2 in positions().items():
                for scale, metrics in (("pixel", similarity.METRICS), ("region", similarity.REGION_METRICS)):
                    other = others.get(kind, own)
                    out += [similarity.scores(own, other, pairs_P2, metric, scale) for metric in metrics]
    return out


def peer(maps: np.ndarray, edges: np.ndarray) -> list[np.ndarray]:
    """The same scores, each from its two maps."""
    out = []
    for view in options.VIEWS:
        for i, own in enumerate(maps):
            others = {"edge": edges[i]} | dict.fromkeys(pairs.CROSS_KINDS, maps[(i + 1) % len(maps)])
            for kind, pairs_P2 in positions().items():
                other = others.get(kind, own)
                for scale, metrics in (("pixel", similarity.METRICS), ("region", similarity.REGION_METRICS)):
                    for metric in metrics:
                        out.append(np.array([pair_score(own[a], other[b], view, scale, metric) for a, b in pairs_P2]))
    return out


def pair_score(x_HW: np.ndarray, y_HW: np.ndarray, view: str, scale: str, metric: str) -> float:
    if view == "magnitude":
        x_HW, y_HW = np.abs(x_HW), np.abs(y_HW)
    x, y = x_HW.astype(np.float64), y_HW.astype(np.float64)
    if scale == "region":
        cell = len(x) // GRID
        x, y = (m.reshape(GRID, cell, GRID, cell).mean(axis=(1, 3)) for m in (x, y))
    return float(PEERS[metric](x, y, view))


def peer_ssim(x: np.ndarray, y: np.ndarray, view: str) -> float:
    return skimage.metrics.structural_similarity(
        x / np.abs(x).max(),
        y / np.abs(y).max(),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=2.0 if view == "signed" else 1.0,
    )


def peer_hog(x: np.ndarray, y: np.ndarray, _view: str) -> float:
    unit = [(m - m.min()) / np.ptp(m) for m in (x, y)]
    features = [skimage.feature.hog(m, orientations=9, pixels_per_cell=(16, 16), cells_per_block=(3, 3)) for m in unit]
    return np.corrcoef(*features)[0, 1]


def peer_top10(x: np.ndarray, y: np.ndarray, _view: str) -> float:
    k = -(-x.size // 10)
    top = [np.argsort(-m, axis=None, kind="stable")[:k] for m in (x, y)]
    shared = np.intersect1d(*top, assume_unique=True).size
    return shared / (2 * k - shared)


BAR, TOLERANCE = 10.0, 1e-6
PEERS: dict[str, Callable[[np.ndarray, np.ndarray, str], float]] = {
    "spearman": lambda x, y, _view: scipy.stats.spearmanr(x, y, axis=None).statistic,
    "pearson": lambda x, y, _view: np.corrcoef(x.ravel(), y.ravel())[0, 1],
    "ssim": peer_ssim,
    "hog": peer_hog,
    "top10": peer_top10,
}


def bench_similarity(size: int = 224, repeats: int = 3) -> list[dict[str, object]]:
    """60 pairs of 8 variants' maps of an image, five metrics at pixel scale and three at region scale, both views."""
    maps, edges = images(2, size)
    ours_s, peer_s, error = [], [], 0.0
    for _ in range(repeats):
        ours_seconds, got = _timed(ours, maps, edges)
        peer_seconds, expected = _timed(peer, maps, edges)
        ours_s.append(ours_seconds / len(maps))
        peer_s.append(peer_seconds / len(maps))
        error = max(error, *(float(np.abs(g - e).max()) for g, e in zip(got, expected, strict=True)))
    fast, slow = statistics.median(ours_s), statistics.median(peer_s)
    assert error < TOLERANCE, f"scores differ from the libraries' by {error:.2g}"
    name = f"Similarity of 8 variants, {size} px, vs scipy and scikit-image pair by pair"
    row = {"name": name, "ratio": slow / fast, "bar": BAR, "met": slow / fast >= BAR}
    return [{**row, "ours": fast, "peer": slow, "unit": "s/image"}]


def _timed(function: Callable[..., list[np.ndarray]], *arguments: np.ndarray) -> tuple[float, list[np.ndarray]]:
    start = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - start, result


if __name__ == "__main__":
    for line in bench_similarity():
        print(line)
