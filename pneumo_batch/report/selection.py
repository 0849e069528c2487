"""Which images the gallery shows, and why: by rule, so that nobody picked them.

Shapes: N images.
"""

import numpy as np

from pneumo_batch.core.statistics.wording import method_name
from pneumo_batch.report.source import Predictions, Source, seeded

MOST_CASES = 24
_MOST_BY_RULE = 4


def choose(source: Source) -> dict[str, list[str]]:
    """The rules that chose an image, by its id; at most `MOST_CASES` images, every rule served in turn."""
    rules = {**_by_similarity(source), **_by_mistake(source)}
    ids = source.attributed["image_id"].to_pylist()
    rules["drawn by a seeded rule"] = seeded(ids, _MOST_BY_RULE)
    chosen: dict[str, list[str]] = {}
    for place in range(_MOST_BY_RULE):
        for rule, found in rules.items():
            if place < len(found) and (found[place] in chosen or len(chosen) < MOST_CASES):
                chosen.setdefault(found[place], []).append(rule)
    return chosen


def _by_similarity(source: Source) -> dict[str, list[str]]:
    """Ids in the order of each rule, of the images whose true-random similarity is defined."""
    ids = source.attributed["image_id"].to_pylist()
    rules: dict[str, list[str]] = {}
    for method in source.methods:
        values_N = source.similarities.means(source.primary(method), "true_random")
        order_N = [i for i in np.argsort(values_N, kind="stable") if not np.isnan(values_N[i])]
        if not order_N:
            continue
        middle = values_N[order_N[(len(order_N) - 1) // 2]]
        name = method_name(method)
        rules[f"{name}: true and random maps least alike"] = [ids[i] for i in order_N]
        rules[f"{name}: true and random maps most alike"] = [ids[i] for i in order_N[::-1]]
        near_N = sorted(order_N, key=lambda i: abs(values_N[i] - middle))
        rules[f"{name}: similarity nearest the median"] = [ids[i] for i in near_N]
    return rules


def _by_mistake(source: Source) -> dict[str, list[str]]:
    """What the true variants get wrong on average, the worst first."""
    attributed = set(source.attributed["image_id"].to_pylist())
    found = [source.predictions(name) for name in source.true]
    if not found:
        return {}
    ids, labels_N = found[0].image_ids, found[0].labels_N
    if not source.is_binary:
        mean_NK = np.mean([one.probabilities for one in found], axis=0)
        own_N = mean_NK[np.arange(len(ids)), labels_N] if len(ids) else np.empty(0)
        wrong_N = [i for i in np.argsort(own_N, kind="stable") if mean_NK[i].argmax() != labels_N[i]]
        return {"wrong class, mean of true variants": [ids[i] for i in wrong_N if ids[i] in attributed]}
    margin_N = np.mean([_margin(one, source, name) for one, name in zip(found, source.true, strict=True)], axis=0)
    order_N = np.argsort(-np.abs(margin_N), kind="stable")
    named = {
        "false positives, mean of true variants": (labels_N == 0) & (margin_N >= 0),
        "false negatives, mean of true variants": (labels_N == 1) & (margin_N < 0),
    }
    return {rule: [ids[i] for i in order_N if of_N[i] and ids[i] in attributed] for rule, of_N in named.items()}


def _margin(predictions: Predictions, source: Source, variant: str) -> np.ndarray:
    return predictions.probabilities - source.models[variant]["threshold"]
