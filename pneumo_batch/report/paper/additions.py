"""What a run measured beside the test, in the words of its methods: two targets, regions, parameter randomization."""

from pneumo_batch.core.statistics.label_share import FEWEST_MODELS
from pneumo_batch.core.statistics.pointing import CROSS_IMAGE, EDGE, MEAN_MASK, TRUE, Localisation, OfFinding
from pneumo_batch.core.statistics.wording import listed
from pneumo_batch.core.variants import RANDOM
from pneumo_batch.report.paper.references import Citations
from pneumo_batch.report.source import Source


def sentences(source: Source, cite: Citations) -> list[str]:
    """Nothing of what the run did not do."""
    return [*_specificity(source), *localisation(source, cite), *cascade(source, cite)]


def _specificity(source: Source) -> list[str]:
    if not source.results.specificity:
        return []
    most = 1 - source.results.threshold
    few = len(source.true) < FEWEST_MODELS
    over = "patients, for these networks only" if few else "patients and true networks, computed as above"
    first = f" Further arms were contrasted on {source.target} alone." if source.results.arms else ""
    return [
        "For every two targets, whether maps say which one is explained was read from c / h: h is the mean of TT − TTx"
        " over both, and c is what two true networks agree on about an image, beyond images of other patients, when"
        f" each explains another of the two. Maps are called specific when the 95 % interval of c / h over {over}, lies"
        f" below {most:g} and unspecific when it lies above{', and inconclusive with so few networks' * few}.{first}"
    ]


# --------------------------------------------------------------------------------------------------------- localisation


def localisation(source: Source, cite: Citations) -> list[str]:
    """Of a run on films with boxes or masks."""
    found = source.results.localisation
    if not found or not found.images:
        return []
    if not found.findings:
        return [_of_an_older_run(found, cite)]
    films = [f"{one.films} images with {name} of {one.patients} patients" for name, one in found.findings.items()]
    return [
        f"On {listed(films)}, where boxes or masks outline it, maps were compared with the outlined region by the"
        f" pointing game{cite('zhang', 'saporta')}, the average precision of their values for the pixels inside"
        f"{cite('arun_2021')}, the intersection over union with their positive part above Otsu's threshold"
        f"{cite('otsu', 'saporta')} and the share of the positive attribution inside"
        f"{_beside(list(found.findings.values()))}. 95 % intervals are percentile intervals from"
        f" {source.job.compare.resamples} bootstrap resamples of patients, for these networks; they enter no verdict."
    ]


def _beside(findings: list[OfFinding]) -> str:
    """What the measures of true networks' maps are held against: those baselines that there are."""
    kinds = {kind for one in findings for by_kind in one.kinds.values() for kind in by_kind}
    baselines = {name for one in findings for name in one.baselines}
    crossed = {name for one in findings for by_variant in one.methods.values() for name in by_variant}
    masks = list(dict.fromkeys(one.mean_mask_of for one in findings if one.mean_mask_of))
    there = {
        f"the mean mask of {listed(masks)}": MEAN_MASK in baselines,
        "Sobel edges": EDGE in baselines,
        "maps of an image of another patient": CROSS_IMAGE in crossed,
        "maps of the random networks": RANDOM in kinds,
        f"maps of the networks of {listed(sorted(kinds - {TRUE, RANDOM}))}": bool(kinds - {TRUE, RANDOM}),
    }
    named = [words for words, is_there in there.items() if is_there]
    return f", beside {listed(named)} on the same images" if named else ""


def _of_an_older_run(found: Localisation, cite: Citations) -> str:
    return (
        f"On {found.images} images whose finding is outlined, maps were compared with the outlined region by the"
        f" pointing game{cite('zhang', 'saporta')} and the share of the positive attribution inside; neither enters a"
        " verdict."
    )


# -------------------------------------------------------------------------------------------- parameter randomization


def cascade(source: Source, cite: Citations) -> list[str]:
    """Of a run with `cascade.seeds`."""
    if source.cascade_summary is None:
        return []
    rows, draws = source.cascade_summary, len(source.job.cascade.seeds)
    alone = ", and each layer also alone" if (rows["mode"] == "independent").any() else ""
    return [
        f"In a parameter randomization test{cite('adebayo')} the {int(rows['depth'].max())} layers of"
        f" {rows['variant'].iloc[0]} were re-initialised from the output down{alone}, with {draws}"
        f" draw{'s' * (draws != 1)} of fresh weights each, and the maps of {int(rows['images'].max())} images were"
        " compared with those of the trained network by the same measures (MPRT).",
        *_variants_of_the_test(source, cite),
        "This test concerns one network, its 95 % intervals are over patients, and it enters no verdict.",
    ]


def _variants_of_the_test(source: Source, cite: Citations) -> list[str]:
    """Of sMPRT and eMPRT those that were measured."""
    settings, ends = source.job.cascade, list((source.results.cascade or {}).values())
    found = []
    if any(end.smprt.value is not None for end in ends):
        found.append(
            f"The same was done with maps averaged over {settings.noisy} inputs with Gaussian noise of"
            f" {settings.noise:g} of the input's range (sMPRT{cite('hedstrom')})."
        )
    if any(end.emprt.value is not None for end in ends):
        found.append(
            "The relative rise of the entropy of a map's histogram"
            f" ({settings.bins} bins) was measured as well (eMPRT{cite('hedstrom')})."
        )
    return found
