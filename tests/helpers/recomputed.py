"""The numbers of the test once more from the scores alone: pandas, scipy, and none of the project's own code."""

import itertools

import numpy as np
import pandas as pd
import scipy.stats

KINDS = ["true_true", "true_random", "true_true_cross", "true_random_cross"]
FIELDS = (
    "images",
    "patients",
    "difference",
    "everywhere",
    "image_specific",
    "headroom",
    "remainder",
    "share",
    "permutation",
    "effective_patients",
)
MOST_MISSING = 0.025  # of the resamples: with more that have no h above 0 the share has no interval


def of_cell(scores: pd.DataFrame, true: list[str], random: list[str], resamples: int) -> dict:
    """The fields of a cell of verdict.json from its rows of `scores/`."""
    scores = scores.astype({"score": float, "kind": str, "variant_a": str, "variant_b": str})
    kinds = kind_means(scores)
    value = quantities(kinds.mean())
    drawn = resampled(kinds, scores, resamples)
    found = {"images": len(kinds), "patients": patients_of(kinds, scores).nunique()}
    films = patients_of(kinds, scores).value_counts()
    effective = films.sum() ** 2 / (films**2).sum()  # Kish: as so many patients with equally many films they count
    found["effective_patients"] = effective
    without = {m: quantities(kind_means(scores[(scores.variant_a != m) & (scores.variant_b != m)]).mean())
               for m in [*true, *random]}  # fmt: skip
    # the delta method: L = 1 - k / h varies as k - (1 - L) h does, over h
    varying = drawn.assign(share=(drawn.remainder - (1 - value.share) * drawn.headroom) / value.headroom)
    for name in value.index:
        found[name] = estimate(value[name], *([without[m][name] for m in models] for models in (true, random)),
                               drawn[name], varying[name], effective)  # fmt: skip
    here = scores[scores.image_id.isin(kinds.index)]
    same, crossed = (
        here[here.kind.isin(["true_true", "true_random", "random_random"])],
        here[here.kind.str.endswith("cross")],
    )
    found["permutation"] = {
        "image_specific": relabeled(pair_means(same) - pair_means(crossed), true, random),
        "same_film": relabeled(pair_means(same), true, random),
    }
    return found


def estimate(
    value: float, true: list[float], random: list[float], drawn: pd.Series, varying: pd.Series, patients: float
) -> dict:
    drawn = drawn.dropna() if drawn.isna().mean() <= MOST_MISSING else drawn.iloc[:0]
    v = [jackknife(true), jackknife(random), varying.var(ddof=1) * patients / (patients - 1) if len(drawn) else np.nan]
    df = sum(v) ** 2 / sum(x**2 / (n - 1) for x, n in zip(v, (len(true), len(random), patients), strict=True))
    reach = scipy.stats.t.ppf(0.975, df) * np.sqrt(sum(v))
    low, high = np.percentile(drawn, [2.5, 97.5]) if len(drawn) else (np.nan, np.nan)
    return {
        "value": value, "ci_low": value - reach, "ci_high": value + reach, "df": df,
        "patients": {"ci_low": low, "ci_high": high},
        "sd": dict(zip(("true", "random", "patients"), np.sqrt(v), strict=True)),
    }  # fmt: skip


def kind_means(scores: pd.DataFrame) -> pd.DataFrame:
    """Of each image the mean of each kind, where it has all four."""
    return scores.groupby(["image_id", "kind"]).score.mean().unstack("kind").reindex(columns=KINDS).dropna()


def quantities(kinds: pd.DataFrame | pd.Series) -> pd.DataFrame | pd.Series:
    tt, tn, ttx, tnx = (kinds[kind] for kind in KINDS)
    h, k = tt - ttx, tn - tnx
    parts = {"difference": tt - tn, "everywhere": ttx - tnx, "image_specific": h - k, "headroom": h, "remainder": k}
    parts["share"] = 1 - k / (h.where(h > 0) if isinstance(h, pd.Series) else h if h > 0 else np.nan)
    return pd.DataFrame(parts) if isinstance(kinds, pd.DataFrame) else pd.Series(parts)


def resampled(kinds: pd.DataFrame, scores: pd.DataFrame, resamples: int) -> pd.DataFrame:
    """The quantities of patients drawn with replacement, all images of a patient together."""
    patients = patients_of(kinds, scores)
    crossed = [kind for kind in KINDS if kind.endswith("cross")]
    kinds = kinds.assign(**{kind: 2 * kinds[kind] - kinds[kind].mean() for kind in crossed})  # a film is in pairs twice
    by_patient = kinds.groupby(patients.to_numpy())
    sums, counts = by_patient.sum().to_numpy(), by_patient.size().to_numpy()
    drawn = np.random.default_rng(0).integers(len(counts), size=(resamples, len(counts)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)[:, None]
    return quantities(pd.DataFrame(means, columns=KINDS))


def patients_of(kinds: pd.DataFrame, scores: pd.DataFrame) -> pd.Series:
    return scores.drop_duplicates("image_id").set_index("image_id").patient_id.loc[kinds.index]


def jackknife(without: list[float]) -> float:
    return (len(without) - 1) / len(without) * sum((x - np.mean(without)) ** 2 for x in without)


def pair_means(scores: pd.DataFrame) -> pd.Series:
    """By unordered pair of models the mean score; of crossed pairs the mean of both orders."""
    ordered = scores.groupby(["variant_a", "variant_b"]).score.mean()
    return ordered.groupby([frozenset(pair) for pair in ordered.index]).mean()


def relabeled(pairs: pd.Series, true: list[str], random: list[str]) -> dict:
    models = [*true, *random]

    def separation(chosen):
        rest = [m for m in models if m not in chosen]
        within = [pairs[frozenset(pair)] for pair in itertools.combinations(chosen, 2)]
        return np.mean(within) - np.mean([pairs[frozenset(pair)] for pair in itertools.product(chosen, rest)])

    every = [separation(chosen) for chosen in itertools.combinations(models, len(true))]
    p = np.mean([value >= every[0] - 1e-12 for value in every])
    return {"statistic": every[0], "p": p, "smallest_p": 1 / len(every), "relabelings": len(every)}


def flat(values: object, prefix: str = "") -> dict[str, float]:
    """Nested numbers under one name each, so that they can be compared at once; null is NaN."""
    if not isinstance(values, dict):
        return {prefix: np.nan if values is None else values}
    return {key: one for name, part in values.items() for key, one in flat(part, f"{prefix}/{name}").items()}
