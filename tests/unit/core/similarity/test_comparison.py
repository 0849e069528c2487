"""The scores of one method do not depend on which others are compared beside it."""

import numpy as np
import pytest

from pneumo_batch.core.similarity import pairs
from pneumo_batch.core.similarity.comparison import Comparison, Others
from pneumo_batch.core.variants import Variant

VARIANTS = (Variant("true_0", "true"), Variant("true_1", "true"), Variant("random_0", "random"))
SIDE = 16


@pytest.fixture(scope="module")
def maps():
    rng = np.random.default_rng(0)
    drawn = rng.standard_normal((2, 2, len(VARIANTS), SIDE, SIDE)).astype(np.float32)
    return [dict(zip(("a", "b"), of_film, strict=True)) for of_film in drawn]


def scored(maps, *methods):
    """By method the scores of the first film, with those of its controls, in the order of cells and pairs."""
    plan = Comparison(VARIANTS, methods, ("spearman", "ssim"), region_grid=4, size=SIDE, seed=0)
    own, other = (plan.features({name: of_film[name] for name in methods}) for of_film in maps)
    image_SS = np.arange(SIDE * SIDE, dtype=np.uint8).reshape(SIDE, SIDE)
    scores = plan.score("film", image_SS, own, Others(other, [other.regions]))
    found = {name: {} for name in methods}
    for (method, *row), score in zip(plan.rows(), scores.tolist(), strict=True):
        found[method][tuple(row)] = score
    return found


def test_the_scores_of_a_method_are_the_same_beside_others_in_any_order_and_alone(maps):
    both, reverse = scored(maps, "a", "b"), scored(maps, "b", "a")
    assert both == reverse == scored(maps, "a") | scored(maps, "b")
    noise = {row: score for row, score in both["a"].items() if pairs.RANDOM_MAP in row}
    assert len(noise) == 6 * 2  # two views, spearman at two scales and ssim at one, two true models
    assert len(set(noise.values())) == len(noise)
