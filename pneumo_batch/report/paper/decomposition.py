"""The test itself in the words of a run's methods: what is compared, how sure it is, and what is called what."""

from collections.abc import Sequence

from pneumo_batch.core.similarity.pairs import PARTNERS
from pneumo_batch.core.statistics.digits import p_is
from pneumo_batch.core.statistics.estimates import CellTest
from pneumo_batch.core.statistics.label_share import FEWEST_MODELS, FEWEST_PATIENTS
from pneumo_batch.core.statistics.permutation import MOST
from pneumo_batch.core.statistics.verdict import ALPHA
from pneumo_batch.core.statistics.wording import listed
from pneumo_batch.report.paper import arms
from pneumo_batch.report.paper.references import Citations
from pneumo_batch.report.source import Source

_METRICS = {
    "spearman": "Spearman's rank correlation",
    "pearson": "Pearson correlation",
    "ssim": "structural similarity",
    "hog": "correlation of histograms of oriented gradients",
    "top10": "intersection over union of the highest tenth",
}


def sentences(source: Source, cite: Citations) -> list[str]:
    return [
        measure(source, cite),
        _parts(source, cite),
        intervals(source, cite),
        *permutation(source, cite),
        rule(source),
        *_others(source, cite),
    ]


def measure(source: Source, cite: Citations) -> str:
    chosen, grid = source.results.primary, source.job.compare.region_grid
    pooled = f", averaged over {grid} × {grid} cells" if chosen.scale == "region" else " at full resolution"
    metric = _metric(chosen.metric, cite)
    return f"The primary measure of similarity is {metric} of the {chosen.view} view of two maps{pooled}."


def _metric(name: str, cite: Citations) -> str:
    return f"{_METRICS.get(name, name)}{cite(name) if name == 'ssim' else ''}"


def _parts(source: Source, cite: Citations) -> str:
    words, most = arms.words(source), PARTNERS[source.results.primary.scale]
    crossed = "one such image each" if most == 1 else f"at most {most} such images each"
    return (
        f"As maps of correct models need not agree{cite('arun_2021')}, the similarity of the maps of two true networks"
        f" (TT) and that of a true and {words.one} (TN) on the same image were each compared with a floor: the"
        " similarity of the maps of the same pairs of networks when the second map is of an image of another patient"
        f" (TTx, TNx; {crossed}). h = TT − TTx is what two true networks agree on about an image, k = TN − TNx is what"
        f" is left of it with {words.cause}, and L = 1 − k / h is the label share. The difference TT − TN is the sum of"
        " h − k, which is specific to the image, and TTx − TNx, which is the change on every image alike."
    )


def _tests(source: Source) -> Sequence[CellTest]:
    return [source.results.methods[method].numbers for method in source.methods]


def _few_models(source: Source) -> bool:
    return min(len(source.true), len(source.random)) < FEWEST_MODELS


def intervals(source: Source, cite: Citations) -> str:
    """Whose intervals there are; one sentence why, where there are none."""
    resamples, patients = source.job.compare.resamples, max(one.patients for one in _tests(source))
    if not patients:
        return "No image had all four similarities, so neither h nor L could be measured."
    if patients < FEWEST_PATIENTS:
        return f"With fewer than {FEWEST_PATIENTS} patients no intervals were computed."
    if _few_models(source):
        return (
            f"With fewer than {FEWEST_MODELS} networks of a kind the 95 % intervals are percentile intervals from"
            f" {resamples} bootstrap resamples of patients: they hold for these networks only."
        )
    return (
        f"As similarities share networks{cite('aronow')}, the variance of each quantity is the sum of the delete-one"
        f" jackknife variances over the true and over the {arms.words(source).models} networks{cite('efron')} and of"
        f" the variance over {resamples} bootstrap resamples of patients (floors by their projection"
        f"{cite('hoeffding')}, L by the delta method; patients with more films than others count as fewer"
        f"{cite('kish')}); 95 % intervals use Student's t with Satterthwaite's degrees of freedom"
        f"{cite('satterthwaite')}: they cover other patients and retrained networks."
    )


def permutation(source: Source, cite: Citations) -> list[str]:
    """Nothing of a run whose models are too few to be relabelled."""
    found = [test for one in _tests(source) if (test := one.permutation.image_specific)]
    if not found or _few_models(source):
        return []
    words = arms.words(source)
    return [
        f"An exact permutation test over {_labelings(found[0].relabelings, cite)} of the networks as true and"
        f" {words.models} compared the agreement of two true networks beyond its floor with that of a true and"
        f" {words.one} (smallest possible {p_is(found[0].smallest_p)})."
    ]


def _labelings(count: int, cite: Citations) -> str:
    return f"{count} labelings, drawn at random{cite('phipson')}," if count == MOST else f"all {count} labelings"


def rule(source: Source) -> str:
    threshold = source.results.threshold
    few = f" (always with fewer than {FEWEST_MODELS} networks of a kind)" if _few_models(source) else ""
    invalid = listed(["the interval of h reaches 0", *arms.conditions(source)], "or")
    return (
        "Maps are called sensitive when the interval of L lies above"
        f" {threshold:g} and the permutation p is at most {ALPHA:g}, and insensitive when that interval lies below"
        f" {threshold:g}; invalid when {invalid}; and inconclusive otherwise{few}."
    )


def _others(source: Source, cite: Citations) -> list[str]:
    """The other views, scales and metrics that were computed."""
    cells = sorted({tuple(key.split("/")) for found in source.results.methods.values() for key in found.cells})
    if len(cells) < 2:
        return []
    named = [sorted({cell[i] for cell in cells}) for i in (0, 1)]
    metrics = [_metric(name, cite) for name in source.job.compare.metrics]
    return [
        f"The same was computed for all views ({listed(named[0])}), scales ({listed(named[1])}) and metrics"
        f" ({listed(metrics)}) where they are defined; only the primary ones decide."
    ]
