"""The methods of a run in words, ready to paste: what it did, and no more. Parts of them answer items of CLAIM, too."""

from collections.abc import Sequence
from dataclasses import dataclass

from pneumo_batch.core.attribution.options import GRAD_CAM, GUIDED_GRAD_CAM, PATHS, GradCam
from pneumo_batch.core.data import patients
from pneumo_batch.core.data.options import SPLITS
from pneumo_batch.core.method_names import method_of
from pneumo_batch.core.statistics.wording import listed, method_name
from pneumo_batch.core.statistics.words import permuted
from pneumo_batch.core.variants import RANDOM, TRUE
from pneumo_batch.report.paper import additions, arms, decomposition
from pneumo_batch.report.paper.references import PAPERS, Citations
from pneumo_batch.report.parts import numbers
from pneumo_batch.report.source import Source

_SPLITS = {"train": "training", "val": "validation", "test": "testing"}
_BASELINES = {
    "blur": ("fong", "sturmfels"),
    "mean": ("sturmfels",),
    "white": ("sturmfels",),
}  # not of the methods' papers
_SOURCES = {GUIDED_GRAD_CAM: ("guided_backprop", "grad_cam")}  # of methods that are not a paper's own
_LIBRARIES = {
    "torch": "PyTorch",
    "captum": "Captum",
    "scikit-image": "scikit-image",
    "scipy": "SciPy",
    "numpy": "NumPy",
    "ray": "Ray",
    "python": "Python",
}


@dataclass(frozen=True)
class Methods:
    """Paragraphs, and the papers that they cite by number, in order."""

    text: str
    references: Sequence[str]


def write(source: Source) -> Methods:
    """What was done, as a paper would say it."""
    cite = Citations()
    paragraphs = [
        [_data(source, cite), preprocessing(source), *_training(source, cite)],
        [_maps(source, cite), *decomposition.sentences(source, cite)],
        additions.sentences(source, cite),
        [software(source)],
    ]
    text = "\n\n".join(" ".join(sentences) for sentences in paragraphs if sentences)
    return Methods(text, [paper.text for paper in cite.papers])


def _data(source: Source, cite: Citations) -> str:
    if not source.job.trained:
        return _explained_data(source, cite)
    people = source.manifest["patient_id"].nunique()
    what = "generated chest-X-ray-like images" if source.job.is_phantom else "images"
    carved, counts = source.job.data.val_fraction, source.manifest["split"].value_counts()
    kept, all_of_it = (int(sum(counts.get(name, 0) for name in some)) for some in (["val"], ["train", "val"]))
    is_carved = carved and kept
    aside = (
        f"; {kept} of {all_of_it} training images were set aside for validation, {unit(source)}" if is_carved else ""
    )
    return (
        f"We applied the data randomization test{cite('adebayo', 'arun_2020')} to {len(source.manifest)} {what} of"
        f" {people} patients ({splits(source)}{aside}), {_labels(source)}."
    )


def unit(source: Source) -> str:
    """What was kept whole where splits were carved: patients, as far as they are known."""
    rows = source.manifest
    known = [not patients.is_nobody(*one) for one in zip(rows["image_id"], rows["patient_id"], strict=True)]
    if all(known):
        return "by patient"
    return "by patient where one is named" if any(known) else "film by film since no patient is named"


def _explained_data(source: Source, cite: Citations) -> str:
    """Of a run that trained nothing: what its other images are to the models is not known here."""
    manifest = source.manifest[source.manifest["split"].isin(source.job.attribution.splits)]
    what = "generated chest-X-ray-like images" if source.job.is_phantom else "images"
    return (
        f"We applied the data randomization test{cite('adebayo', 'arun_2020')} to {len(manifest)} {what} of"
        f" {manifest['patient_id'].nunique()} patients, {_labels(source)}."
    )


def splits(source: Source) -> str:
    counts = source.manifest["split"].value_counts()
    return listed([f"{counts[split]} for {_SPLITS[split]}" for split in SPLITS if split in counts])


def _labels(source: Source) -> str:
    """Classes, or findings in the order of the networks' outputs."""
    if several := source.job.data.several:
        return f"each with or without {listed(several, 'and/or')}; the networks have a logit for each, in this order"
    return f"of the classes {listed(source.classes)}"


def preprocessing(source: Source) -> str:
    preprocess = source.run.preprocess()
    grey = "one grey channel" if preprocess.channels == 1 else f"one grey channel repeated {preprocess.channels} times"
    pad = "padded with black to a square and " if preprocess.pad == "black" else ""
    return (
        f"Images were read as {grey}, {pad}resized to {preprocess.size} × {preprocess.size} pixels and normalised with"
        f" mean {numbers(preprocess.mean)} and standard deviation {numbers(preprocess.std)}."
    )


# ------------------------------------------------------------------------------------------------------------- training


def _training(source: Source, cite: Citations) -> list[str]:
    job = source.job
    further = [arms.sentence(source, cite)] if job.arm else []
    found = [_brought(source), _trained(source, cite), *further]
    return [sentence for sentence in [*found, *(training_details(source) if job.trained else [])] if sentence]


def _brought(source: Source) -> str:
    kinds = [spec.kind for spec in source.job.variant]
    labels = {kind: words for kind, words in ((TRUE, "the true labels"), (RANDOM, "random labels")) if kind in kinds}
    if not labels:
        return ""
    counted = listed([f"{kinds.count(kind)} on {words}" for kind, words in labels.items()])
    of_which = f"on {next(iter(labels.values()))}" if len(labels) == 1 else counted
    were = "was" if len(kinds) == 1 else "were"
    return f"{_models(len(kinds))} ({source.job.network.name}) {were} trained outside this run, {of_which}."


def _trained(source: Source, cite: Citations) -> str:
    """Those of `train.true_seeds` and `train.random_seeds`."""
    train = source.job.train
    groups = [(len(train.true_seeds), _on_true_labels(source))] if train.true_seeds else []
    groups += [(len(train.random_seeds), _on_random_labels(source, cite))] if train.random_seeds else []
    if not groups:
        return ""
    (count, labels), *others = groups
    were = "was" if count == 1 else "were"
    rest = "".join(f" and {number} on {other}" for number, other in others)
    return f"{_models(count)} ({source.job.network.name}) {were} trained on {labels}{rest}."


def _on_true_labels(source: Source) -> str:
    train = source.job.train
    labels = f"the true labels ({arms.seeds(train.true_seeds)})"
    if not train.patience:
        return f"{labels} for {train.epochs} epochs"
    stopped = f"stopped after {train.patience} epochs without a lower validation loss"
    return f"{labels} for at most {train.epochs} epochs, {stopped}"


def _on_random_labels(source: Source, cite: Citations) -> str:
    arm = source.job.arms[RANDOM]
    drawn = f"{permuted(arm)}{arms.sources(arm, cite)} ({arms.seeds(source.job.train.random_seeds)})"
    return f"labels permuted once over the training split{drawn} {arms.until(source)}"


def training_details(source: Source) -> list[str]:
    """The recipe that all networks trained here share, and which weights were kept."""
    train = source.job.train
    each = "with and without each finding" if source.finding else "from each class"
    drawn = f"drawn equally often {each}" if train.sampler == "weighted" else "shuffled"
    mixed = ", mixed precision on GPUs" if train.amp else ""
    recipe = (
        f"The recipe was the same for all: Adam, learning rate {train.learning_rate:g}{_plateau(source)}, batches of"
        f" {train.batch_size} images {drawn}{mixed}, no augmentation; {initialisation(source)}. No two networks shared"
        " a seed."
    )
    return [recipe, selection(source)]


def _plateau(source: Source) -> str:
    train = source.job.train
    where = {"train": "training", "val": "validation"}.get(train.plateau)
    after = f"{train.plateau_patience + 1} epochs"  # torch lets as many as its patience pass
    return f" (halved after {after} without a {where} loss lower by 0.01 %)" if where else ""


def initialisation(source: Source) -> str:
    weights = source.job.network.weights
    if weights == "none":
        return "weights were initialised at random from each network's seed"
    return f"training started from {'ImageNet' if weights == 'imagenet' else 'given'} weights"


def selection(source: Source) -> str:
    """Which epoch's weights were kept."""
    trained = [source.job.arms[kind] for kind in dict.fromkeys(one.kind for one in source.job.trained)]
    permutes = any(arm.is_permuted for arm in trained)
    if not (source.manifest["split"] == "val").any():
        return "The weights of the last epoch were kept."
    return "The weights of the epoch with the lowest validation loss were kept" + (
        "; for networks with permuted labels, those of the last epoch." if permutes else "."
    )


def _models(count: int) -> str:
    return f"{count} network{'s' * (count != 1)}"


# ----------------------------------------------------------------------------------------------------------------- maps


def _maps(source: Source, cite: Citations) -> str:
    names = [f"{method_name(method)}{_cited(method, cite)}{options(source, method, cite)}" for method in source.methods]
    tf32 = "; GPUs were allowed to compute products in TF32" if source.job.attribution.allow_tf32 else ""
    return (
        f"For all {source.attributed.num_rows} attributed images ({listed(source.job.attribution.splits)}) and every"
        f" network we explained {explained(source)} with {listed(names)}; maps of inner layers were upsampled"
        f" bilinearly{tf32}."
    )


def explained(source: Source) -> str:
    """The output, or outputs, that maps are of."""
    targets = source.job.attribution.targets
    if len(targets) > 1:
        return f"the logits of {listed(targets)}, each separately,"
    one = {"positive": f"the logit of {source.classes[-1]}", "label": "the logit of the image's own class"}
    return one.get(targets[0], f"the logit of {targets[0]}")


def _cited(method: str, cite: Citations) -> str:
    name = method_of(method)
    papers = _SOURCES.get(name, (name,) if name in PAPERS else ())
    return cite(*papers) if papers else ""


def options(source: Source, method: str, cite: Citations) -> str:
    """Of a method, in brackets; nothing where it has none."""
    values = source.job.attribution.options_by_method()[method]
    if method_of(method) in (GRAD_CAM, GUIDED_GRAD_CAM):
        return f" ({_layer(source, str(values['layer']))})"
    papers = _BASELINES.get(str(values.get("baseline")), ())
    cited = cite(*papers) if papers else ""
    if not values:
        return ""
    if method_of(method) in PATHS:
        rule = f"{values['steps']} steps, {values['rule']} rule"
        if values["steps"] == "auto":
            rule = f"midpoint rule, refined for each image to a relative error of {values['tolerance']:g}"
        return f" ({rule}, {values['baseline']} baseline{cited})"
    listing = (f"{key} {value}{cited if key == 'baseline' else ''}" for key, value in values.items())
    return f" ({', '.join(listing)})"


def _layer(source: Source, layer: str) -> str:
    """`layer conv5.1`; where networks have each their own, `layer conv5.1 of cnn5 and layer4.1 of resnet18`."""
    if layer != GradCam().layer:
        return f"layer {layer}"
    try:
        found = source.grad_cam_layers
    except ValueError:
        return "the layer chosen by the network's architecture"
    if len(set(found.values())) == 1:
        return f"layer {next(iter(found.values()))}"
    return f"layer {listed([f'{path} of {network}' for network, path in found.items()])}"


def software(source: Source) -> str:
    versions = source.record["versions"]
    commit = source.record.get("commit")
    build = f", commit {commit[:12]}" if commit else ""
    libraries = listed([f"{name} {versions[key]}" for key, name in _LIBRARIES.items() if key in versions])
    return (
        f"Computed with pneumo-batch {versions['pneumo-batch']}{build} (run {source.record['fingerprint'][:12]}),"
        f" {libraries}."
    )
