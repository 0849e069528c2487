"""A methods paragraph with the exact parameters of the run, ready to paste, and its references."""

from collections.abc import Sequence

from pneumo_batch.core.attribution.options import PATHS, UNSCALED
from pneumo_batch.core.method_names import method_of
from pneumo_batch.core.statistics.label_share import FEWEST_MODELS, FEWEST_PATIENTS
from pneumo_batch.core.statistics.results import CellTest
from pneumo_batch.core.statistics.verdict import ALPHA
from pneumo_batch.core.statistics.wording import listed, method_name
from pneumo_batch.core.statistics.words import described
from pneumo_batch.core.variants import RANDOM, Arm
from pneumo_batch.job.schema import Train
from pneumo_batch.report.parts import Block, Code, Items, Text, numbers
from pneumo_batch.report.source import Source

_REFERENCES = {
    "adebayo": (
        "Adebayo J, Gilmer J, Muelly M, Goodfellow I, Hardt M, Kim B. Sanity checks for saliency maps. Advances in"
        " Neural Information Processing Systems 31, 2018."
    ),
    "integrated_gradients": (
        "Sundararajan M, Taly A, Yan Q. Axiomatic attribution for deep networks. Proceedings of the 34th International"
        " Conference on Machine Learning, PMLR 70:3319–3328, 2017."
    ),
    "grad_cam": (
        "Selvaraju RR, Cogswell M, Das A, Vedantam R, Parikh D, Batra D. Grad-CAM: visual explanations from deep"
        " networks via gradient-based localization. IEEE International Conference on Computer Vision, 618–626, 2017."
    ),
    "arun": (
        "Arun N, Gaw N, Singh P, Chang K, Aggarwal M, Chen B, et al. Assessing the trustworthiness of saliency maps for"
        " localizing abnormalities in medical imaging. Radiology: Artificial Intelligence 3(6):e200267, 2021."
    ),
    "efron": "Efron B, Stein C. The jackknife estimate of variance. The Annals of Statistics 9(3):586–596, 1981.",
    "satterthwaite": (
        "Satterthwaite FE. An approximate distribution of estimates of variance components. Biometrics Bulletin"
        " 2(6):110–114, 1946."
    ),
    "integrated_gradients_unscaled": (
        "Ancona M, Ceolini E, Öztireli C, Gross M. Towards better understanding of gradient-based attribution methods"
        " for deep neural networks. International Conference on Learning Representations, 2018."
    ),
}
_MARKS = {name: f"[{place}]" for place, name in enumerate(_REFERENCES, start=1)}
_METRICS = {
    "spearman": "Spearman's rank correlation",
    "pearson": "Pearson correlation",
    "ssim": "structural similarity",
    "hog": "correlation of histograms of oriented gradients",
    "top10": "intersection over union of the highest tenth",
}


def blocks(source: Source) -> list[Block]:
    return [
        Text(
            "Ready to paste; every number is a parameter or a count of this run. Cite your image data beside it.",
            "note",
        ),
        Code(paragraph(source), "Methods"),
        Items(_references(source), "references"),
    ]


def _references(source: Source) -> list[str]:
    """All but the last, where no method is of it: those that every paragraph has keep their numbers."""
    used = [method_of(method) for method in source.methods]
    return [text for name, text in _REFERENCES.items() if name != UNSCALED or name in used]


def paragraph(source: Source) -> str:
    """What was done, as a paper would say it."""
    return " ".join([_data(source), _training(source), _maps(source), _comparison(source), _software(source)])


def _data(source: Source) -> str:
    counts = source.manifest["split"].value_counts()
    patients = source.manifest["patient_id"].nunique()
    splits = [f"{counts[split]} for {name}" for split, name in _SPLITS.items() if split in counts]
    what = "generated chest-X-ray-like images" if source.job.is_phantom else "images"
    carved = source.job.data.val_fraction
    kept = f"; {carved * 100:g} % of the training images were set aside for validation by patient" if carved else ""
    return (
        f"We applied the data randomization test {_MARKS['adebayo']} to {len(source.manifest)} {what} of {patients}"
        f" patients ({listed(splits)}{kept}), {_labels(source)}."
    )


def _labels(source: Source) -> str:
    """Classes, or findings in the order of the networks' outputs."""
    if several := source.job.data.several:
        return f"each with or without {listed(several, 'and/or')}, which the networks' logits are of in this order"
    return f"of the classes {listed(source.classes)}"


_SPLITS = {"train": "training", "val": "validation", "test": "testing"}


def _training(source: Source) -> str:
    job, preprocess = source.job, source.run.preprocess()
    grey = "one grey channel" if preprocess.channels == 1 else f"one grey channel repeated {preprocess.channels} times"
    pad = "padded with black to a square and " if preprocess.pad == "black" else ""
    shape = (
        f"Images were read as {grey}, {pad}resized to {preprocess.size} × {preprocess.size} pixels and normalised with"
        f" mean {numbers(preprocess.mean)} and standard deviation {numbers(preprocess.std)}."
    )
    if job.variant:
        return (
            f"{shape} {_models(len(source.true))} ({job.network.name}) had been trained on the true labels and"
            f" {len(source.random)} on random ones, outside of this run."
        )
    train = job.train
    each = "with and without each finding" if source.finding else "from each class"
    drawn = f"drawn equally often {each}" if train.sampler == "weighted" else "shuffled"
    were = "was" if len(source.true) == 1 else "were"
    until = f"until they reproduced {train.memorise:.0%} of them or for {train.max_epochs} epochs"
    random = (
        f" and {len(train.random_seeds)} on labels permuted once over the training"
        f" split{permuted(job.arms[RANDOM])} ({_seeds(train.random_seeds)}) {until}"
    )
    return (
        f"{shape} {_models(len(source.true))} ({job.network.name}) {were} trained on the true labels"
        f" ({_seeds(train.true_seeds)}) for at most {train.epochs} epochs{random if train.random_seeds else ''}, with"
        f" the same recipe: Adam, learning rate {train.learning_rate:g}{_plateau(train)}, batches of {train.batch_size}"
        f" images {drawn}. No two networks shared a seed.{_further(source, until)}"
    )


def _further(source: Source, until: str) -> str:
    """What `[[arm]]` tables add."""
    job = source.job
    if not job.arm:
        return ""
    listing = [f"{len(spec.seeds)} with {described(spec.arm)} ({spec.name}, {_seeds(spec.seeds)})" for spec in job.arm]
    trained = (
        f"; those with permuted labels were trained {until}" if any(one.arm.is_permuted for one in job.arm) else ""
    )
    return f" Further networks were contrasted with those of true labels in the same way: {listed(listing)}{trained}."


def permuted(arm: Arm) -> str:
    """How labels were permuted, where not freely: ", ..."."""
    how = [", those of a patient together, among patients of as many films"] if arm.unit == "patient" else []
    within = [f", among films of the same {listed(list(arm.within))}"] if arm.within else []
    return "".join([*how, *within])


def _models(count: int) -> str:
    return f"{count} network{'s' * (count != 1)}"


def _plateau(train: Train) -> str:
    where = {"train": "training", "val": "validation"}.get(train.plateau)
    return f" (halved after {train.plateau_patience} epochs without a lower {where} loss)" if where else ""


def _seeds(seeds: list[int]) -> str:
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {listed([str(seed) for seed in seeds])}"


def _maps(source: Source) -> str:
    attribution = source.job.attribution
    names = []
    for method in source.methods:
        mark = f" {_MARKS[method_of(method)]}" if method_of(method) in _MARKS else ""
        names.append(f"{method_name(method)}{mark}{_options(source, method)}")
    explained = attribution.targets
    one = {"positive": f"the logit of {source.classes[-1]}", "label": "the logit of the image's own class"}
    target = f"the logits of {listed(explained)}, each by itself," if len(explained) > 1 else None
    target = target or one.get(explained[0], f"the logit of {explained[0]}")
    return (
        f"For all {source.attributed.num_rows} attributed images ({listed(attribution.splits)}) and every network we"
        f" explained {target} by {listed(names)}; maps of inner layers were upsampled bilinearly."
    )


def _options(source: Source, method: str) -> str:
    values = source.job.attribution.options_by_method()[method]
    if not values:
        return ""
    if method_of(method) in PATHS:
        rule = f"{values['steps']} steps, {values['rule']} rule"
        if values["steps"] == "auto":
            rule = f"midpoint rule, refined for each image to a relative error of {values['tolerance']:g}"
        return f" ({rule}, {values['baseline']} baseline)"
    return " (" + ", ".join(f"{key} {value}" for key, value in values.items()) + ")"


def _comparison(source: Source) -> str:
    compare, chosen = source.job.compare, source.results.primary
    grid = compare.region_grid
    pooled = f", averaged over {grid} × {grid} cells" if chosen.scale == "region" else " at full resolution"
    metric = _METRICS.get(chosen.metric, chosen.metric)
    return (
        f"The primary measure of two maps is {metric} of their {chosen.view} view{pooled}. As"
        f" maps of correct models need not agree {_MARKS['arun']}, the similarity of two true networks (TT) and that of"
        " a true and a random one (TN) on an image were each compared with their floor: that of the same pairs of"
        " networks, the second map being that of an image of another patient (TTx, TNx). h = TT − TTx is what two true"
        " networks agree on about an image, k = TN − TNx what is left of it with random labels, and L = 1 − k / h the"
        f" label share; TTx − TNx, what random labels change on every image alike, stands beside it."
        f" {_intervals(source)} {_rule(source)}"
    )


def _intervals(source: Source) -> str:
    resamples = source.job.compare.resamples
    tests = [source.results.methods[method].numbers for method in source.methods]
    patients = max(one.patients for one in tests)
    if not patients:
        return "No image had all four similarities, so neither h nor L could be measured."
    if patients < FEWEST_PATIENTS:
        return f"With fewer than {FEWEST_PATIENTS} patients no intervals were drawn."
    if min(len(source.true), len(source.random)) < FEWEST_MODELS:
        return (
            f"With fewer than {FEWEST_MODELS} networks of a kind the 95 % intervals are percentile intervals from"
            f" {resamples} bootstrap resamples of patients: they hold for these networks only."
        )
    return (
        "The variance of each quantity is the sum of the delete-one jackknife variances over the true and over the"
        f" random networks {_MARKS['efron']} and of the variance over {resamples} bootstrap resamples of patients; 95 %"
        " intervals use Student's t with Satterthwaite's degrees of freedom"
        f" {_MARKS['satterthwaite']}.{_permutation(tests)}"
    )


def _permutation(tests: Sequence[CellTest]) -> str:
    found = [test for one in tests if (test := one.permutation.image_specific)]
    if not found:
        return ""
    return (
        f" An exact permutation test over all {found[0].relabelings} labelings of the networks as true and random"
        " compared the agreement of two true networks beyond its floor with that of a true and a random one (smallest"
        f" possible p {found[0].smallest_p:.4f})."
    )


def _rule(source: Source) -> str:
    threshold = source.results.threshold
    few = min(len(source.true), len(source.random)) < FEWEST_MODELS
    return (
        "Maps are called sensitive when the interval of L lies above"
        f" {threshold:g} and the permutation p is at most {ALPHA:g}, and insensitive when it lies below {threshold:g};"
        " invalid when the interval of h reaches 0, a random network did not memorise its labels or a true one was no"
        " better than chance on the test images; and inconclusive otherwise"
        + (f", which fewer than {FEWEST_MODELS} networks of a kind always are." if few else ".")
    )


def _software(source: Source) -> str:
    versions = source.record["versions"]
    commit = source.record.get("commit")
    build = f", commit {commit[:12]}" if commit else ""
    return (
        f"Computed with pneumo-batch {versions['pneumo-batch']}{build} (run {source.record['fingerprint'][:12]}),"
        f" PyTorch {versions['torch']}, Ray {versions['ray']} and Python {versions['python']}."
    )
