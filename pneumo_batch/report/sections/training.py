"""The training section: how every variant learnt, true and random side by side, and how well it classifies."""

from collections.abc import Iterator

import numpy as np

from pneumo_batch.core import tables
from pneumo_batch.core.variants import KINDS
from pneumo_batch.report.figures import training
from pneumo_batch.report.parts import Block, Fold, Rate, Section, Side, Table, Text, interval
from pneumo_batch.report.source import Source

_METRICS = ("images", "accuracy", "balanced_accuracy", "auroc", "auprc", "precision", "recall", "f1")


def build(source: Source) -> Section:
    blocks: list[Block] = []
    if _knows_training(source):
        blocks.append(Side([training.memorisation(source), _memory_table(source)]))
    blocks.append(_metrics_table(source))
    if source.finding:
        blocks.append(_findings_table(source))
    blocks += [Fold("Learning curves", list(_curves(source)))]
    blocks += [Fold("Classification of the test split: curves and confusion", list(_classification(source)))]
    if accuracies := _by_subtype(source):
        blocks += [Fold("Accuracy by class and subtype", accuracies)]
    return Section("training", "Training", blocks)


def _metrics_table(source: Source) -> Table:
    rows = []
    for name, record in source.models.items():
        for split in ("train", "val"):
            measured = record["metrics"].get(split)
            if measured:
                rows.append([name, record["kind"], split, *(measured[key] for key in _METRICS), None])
        # not that of the training: where data grow, films have joined the test split since
        one = source.results.variants[name]
        test = one.own_test or one.test
        if test.images:
            values = [getattr(test, key) for key in _METRICS]
            rows.append([name, record["kind"], "test", *values, interval(*test.auroc_interval)])
    header = ["variant", "labels", "split", *(key.replace("_", " ") for key in _METRICS), "AUROC, 95 % interval"]
    caption = (
        "Every variant on every split, at the threshold chosen on validation. Training rows of random variants are"
        " judged by the labels they were given, all others by the true labels; a random variant should be"
        " at chance on test."
    )
    if any(source.arm(name).column for name in source.variants):
        caption += " Models of another column are judged by that column, where it is known."
    return Table("metrics", caption, header, rows, ("labels", "split"), {"split": "test"})


def _findings_table(source: Source) -> Table:
    rows = []
    for name, one in source.results.variants.items():
        for finding, about in one.findings.items():
            test, training = about.test, about.training
            values = [test.images, test.balanced_accuracy, test.auroc, test.auprc, test.f1, about.threshold]
            known = [training.accuracy, training.majority, training.balanced_accuracy] if training else [None] * 3
            rows.append([name, one.kind, finding, *values, interval(*test.auroc_interval), *known])
    header = ["variant", "labels", "finding", "images", "balanced accuracy", "AUROC", "AUPRC", "F1", "threshold"]
    header += ["AUROC, 95 % interval", "accuracy on its labels", "majority guess", "balanced accuracy on its labels"]
    rest = "All else in this report is" if not source.results.targets else "Pictures and the other tables here are"
    caption = (
        "Every finding on test, over the images with a known label of it, and how well the training labels that were"
        f" given are memorised. {rest} about {source.finding}, except training curves and the"
        " labels kept, which are over the known labels of all findings."
    )
    return Table("findings", caption, header, rows, ("variant", "labels", "finding"))


def _curves(source: Source) -> list[Block]:
    histories = {name: source.history(name) for name in source.variants}
    found = {name: history for name, history in histories.items() if history is not None and len(history)}
    without = [name for name in source.variants if name not in found]
    fresh = [name for name in without if not source.arm(name).is_trained]
    brought = [name for name in without if name not in fresh]
    blocks: list[Block] = []
    for why, names in (("Trained elsewhere", brought), ("Not trained", fresh)):
        if names:
            blocks.append(Text(f"{why}, so without curves: {', '.join(names)}.", "note"))
    if found:
        blocks.append(training.curves(source, found))
        rows = [
            [Rate(row[key]) if key == "learning_rate" and row[key] else row[key] for key in tables.HISTORY.names]
            for history in found.values()
            for row in history.astype(object).where(history.notna(), None).to_dict("records")
        ]
        caption = "Every epoch. Training accuracy is a running mean, on the labels the variant was given."
        chosen = {"variant": next(iter(found))}
        table = Table("history", caption, tables.HISTORY.names, rows, ("variant",), chosen)
        blocks.append(Fold("Every epoch", [table]))
    return blocks


def _knows_training(source: Source) -> bool:
    """Whether any model's training is known; of models brought along it may be of none."""
    return any((one.on_its_labels, one.epochs) != (None, None) for one in source.results.variants.values())


def _memory_table(source: Source) -> Table:
    rows = [
        [
            name,
            one.kind,
            one.epochs,
            one.chosen_epoch,
            one.on_its_labels,
            source.majority if one.kind in KINDS or one.majority is not None else None,
            one.label_agreement,
        ]
        for name, one in source.results.variants.items()
    ]
    accuracy = "balanced accuracy on its labels"
    header = ["variant", "labels", "epochs", "chosen", accuracy, "majority guess", "labels kept"]
    caption = (
        "Balanced accuracy on the training labels a variant was given (eval mode), beside what always naming the most"
        " frequent class would score. “Labels kept” is the share of training labels that equal the true ones."
    )
    return Table("memorisation", caption, header, rows)


def _classification(source: Source) -> Iterator[Block]:
    if not len(source.predictions(source.variants[0]).labels_N):
        yield Text("The run has no test images.", "note")
        return
    if source.is_binary:
        drawn = [training.roc, training.precision_recall, training.calibration]
        yield Side([draw(source) for draw in drawn], columns=3)
    else:
        yield Text("Curves over a threshold are drawn for two classes only.", "note")
    yield training.confusion(source)


def _by_subtype(source: Source) -> list[Block]:
    rows = [
        [name, source.models[name]["kind"], group, int(of_N.sum()), float(right_N[of_N].mean())]
        for name in source.variants
        for group, of_N, right_N in groups(source, name)
    ]
    if not rows:
        return []
    caption = "Share of test images classified correctly, by class and subtype, at the chosen threshold."
    header = ["variant", "labels", "group", "images", "accuracy"]
    return [Side([training.subtypes(rows), Table("subtypes", caption, header, rows, ("variant", "group"))])]


def groups(source: Source, variant: str) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Of each class and subtype its name, which test images belong to it, and which are classified rightly."""
    predictions = source.predictions(variant)
    rows = source.manifest.set_index("image_id").loc[predictions.image_ids]
    names_N = (rows["class_name"] + rows["subtype"].map(lambda s: f", {s}" if isinstance(s, str) else "")).to_numpy()
    right_N = predictions.predicted(source.models[variant]["threshold"]) == predictions.labels_N
    for name in sorted(set(names_N)):
        yield name, names_N == name, right_N
