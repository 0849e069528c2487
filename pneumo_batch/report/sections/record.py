"""The record section: what made this run, and the card of every model."""

from pneumo_batch.core.data.options import SPLITS
from pneumo_batch.core.statistics.wording import listed
from pneumo_batch.core.statistics.words import labels_of, trained_on
from pneumo_batch.report import parts
from pneumo_batch.report.parts import (
    MISSING,
    Block,
    Code,
    Fold,
    Heading,
    Items,
    Section,
    Side,
    Table,
    Text,
    interval,
    number,
    numbers,
)
from pneumo_batch.report.sections import training
from pneumo_batch.report.source import Source
from pneumo_batch.rundir.layout import JOB

_USE = (
    "A reference for the data randomization test of saliency maps, and nothing else. Not a diagnostic device: not for"
    " clinical use, not for screening, not for decisions about people."
)
Card = list[tuple[str, list[str]]]


def build(source: Source) -> Section:
    record = source.record
    commit = record.get("commit")
    dirty = " with local changes" if record.get("dirty") else ""
    made = f"commit {commit}{dirty}" if commit else "an installed package, without a commit"
    blocks: list[Block] = [
        Text(f"Run {record['name']}, fingerprint {record['fingerprint']}, begun {record['created']}, made by {made}."),
        Side(
            [
                Table("stages", "Stages.", ["stage", "status", "seconds", "counts"], _stages(source)),
                Table("versions", "Versions.", ["package", "version"], [list(i) for i in record["versions"].items()]),
            ]
        ),
        Fold("Job file, resolved", [Code(source.run.store.read_bytes(JOB).decode(), "job.toml")]),
        Heading("Model cards"),
    ]
    for variant in source.variants:
        lists = [Items(lines, title=title) for title, lines in card(source, variant)]
        blocks.append(Fold(f"{variant}: {source.models[variant]['network']}, {labels_of(source.arm(variant))}", lists))
    return Section("record", "Record", blocks)


def _stages(source: Source) -> list[list[str]]:
    """Of each stage a row; of the one that is writing this page nothing that only its end will tell."""
    rows = []
    for name, stage in source.record["stages"].items():
        counts = ", ".join(f"{k} {v}" for k, v in stage.get("counts", {}).items())
        done = [stage["status"], number(stage.get("seconds"), 1), counts]
        rows.append([name, *(["writes this page", MISSING, ""] if name == "report" else done)])
    return rows


def card(source: Source, variant: str) -> Card:
    """The model card: titles and their lines."""
    return [
        ("Model", _model(source, variant)),
        ("Intended use", [_USE]),
        ("Data", _data(source, variant)),
        ("Labels", [trained_on(source.arm(variant), source.models[variant].get("label_agreement"))]),
        ("Recipe", _recipe(source, variant)),
        ("Metrics", _metrics(source, variant)),
        ("Limits", _limits(source, variant)),
    ]


def markdown(source: Source, variant: str) -> bytes:
    """The card as a file of its own; names from outside cannot become markup."""
    lines = [f"# Model card: {parts.markdown(variant)}"]
    for title, items in card(source, variant):
        lines += ["", f"## {title}", "", *(f"- {parts.markdown(item)}" for item in items)]
    return ("\n".join(lines) + "\n").encode()


def _model(source: Source, variant: str) -> list[str]:
    model, preprocess = source.models[variant], source.run.preprocess(variant)
    of = f"findings, in the order of the outputs, {listed(model['findings'])}" if "findings" in model else ""
    of = of or f"classes {listed(model['classes'])}"
    lines = [
        f"Network {model['network']} with {model['outputs']} output{'s' * (model['outputs'] > 1)}; {of}.",
        f"Input {preprocess.size} × {preprocess.size} pixels, {preprocess.channels} channel(s), pad"
        f" {preprocess.pad}, mean {numbers(preprocess.mean)}, standard deviation {numbers(preprocess.std)}.",
        f"Part of run {source.record['fingerprint'][:12]}, pneumo-batch {source.record['versions']['pneumo-batch']},"
        f" PyTorch {source.record['versions']['torch']}.",
        f"Weights: models/{variant}/model.safetensors of the run; Run(...).model({variant!r}) loads them.",
    ]
    return [*lines, f"Brought along as {model['checkpoint']}."] if "checkpoint" in model else lines


def _data(source: Source, variant: str) -> list[str]:
    what = "Generated images (phantom), no patients" if source.job.is_phantom else "Images of the run's data root"
    lines = [f"{what}; no patient is in two splits." if not source.audit.patient_overlap else f"{what}."]
    by_split = dict(iter(source.manifest.groupby("split")))
    for split in (name for name in SPLITS if name in by_split):
        rows = by_split[split]
        counts = rows["class_name"].value_counts().sort_index()
        words = listed([f"{count} {name}" for name, count in counts.items()])
        lines.append(f"{split}: {words}, of {rows['patient_id'].nunique()} patients.")
    return lines


def _recipe(source: Source, variant: str) -> list[str]:
    model, train = source.models[variant], source.job.train
    if model.get("epochs") is None:
        return ["Trained outside this run."]
    return [
        f"Seed {model['seed']}; {model['epochs']} epochs, weights of epoch {model['chosen_epoch']}.",
        f"Adam, learning rate {train.learning_rate:g}, batch {train.batch_size}, sampler {train.sampler}, plateau"
        f" {train.plateau}.",
    ]


def _metrics(source: Source, variant: str) -> list[str]:
    """Of several findings those of the one explained first, and the AUROC of the others."""
    one = source.results.variants[variant]
    test = one.test
    known = f"Balanced accuracy on the training labels it was given: {number(one.on_its_labels)}."
    if not test.images:
        return [known, "Not measured on test images: the run has none."]
    others = [
        f"{name} {number(found.test.auroc)} ({interval(*found.test.auroc_interval)})"
        for name, found in one.findings.items()
        if name != source.finding
    ]
    return [
        *([f"Of {source.finding}, unless another finding is named:"] if source.finding else []),
        known,
        f"Test, {test.images} images: AUROC {number(test.auroc)} ({interval(*test.auroc_interval)}), balanced"
        f" accuracy {number(test.balanced_accuracy)}, accuracy {number(test.accuracy)}, AUPRC"
        f" {number(test.auprc)}, F1 {number(test.f1)}.",
        *([f"Threshold, chosen on validation: {number(test.threshold)}."] if source.is_binary else []),
        f"Classified correctly on test: {listed(_by_group(source, variant))}.",
        *([f"Test AUROC of the other findings: {'; '.join(others)}."] if others else []),
    ]


def _by_group(source: Source, variant: str) -> list[str]:
    """Accuracy by class and subtype: of two classes, sensitivity and specificity."""
    return [
        f"{number(float(right_N[of_N].mean()))} of {int(of_N.sum())} {name}"
        for name, of_N, right_N in training.groups(source, variant)
    ]


def _limits(source: Source, variant: str) -> list[str]:
    measured = (
        "Measured on the test split of one data set" if source.results.variants[variant].test.images else "One data set"
    )
    lines = [f"{measured}; nothing is known of other hospitals, devices or people."]
    arm = source.arm(variant)
    if not arm.is_trained or (arm.is_permuted and arm.fraction == 1):
        lines.append("Predicts noise by design.")
    elif arm.is_permuted or arm.column:
        lines.append("Trained on labels other than those of the classes: for comparison only.")
    if source.job.is_phantom:
        lines.append("Has never seen a real X-ray image.")
    return lines
