"""Arms beside the random one: what each changes of the maps, and, where they differ by a fraction, curves over it."""

from collections.abc import Iterator

from pneumo_batch.core.statistics import arm_lines, doses
from pneumo_batch.core.statistics.results import ArmResult
from pneumo_batch.core.statistics.wording import common, method_name, of_the_first
from pneumo_batch.core.statistics.words import described
from pneumo_batch.report import estimates
from pneumo_batch.report.figures import doses as dose_figure
from pneumo_batch.report.parts import Block, Fold, Heading, Items, Table, Text, span
from pneumo_batch.report.sections import method_details
from pneumo_batch.report.source import Source


def blocks(source: Source) -> list[Block]:
    """None of a run that has the random arm alone."""
    if not source.results.arms:
        return []
    return [
        Heading(f"Arms{of_the_first(source.results.first_target)}"),
        Text(
            "Every arm is contrasted with the true one in the same way as the random arm: L is the part of what two"
            " true models agree on about a film that a true model and one of the arm no longer agree on."
        ),
        *_curve(source),
        _models_table(source),
        _verdicts_table(source),
        Fold("Why: the reasons of each arm's verdicts", list(_reasons(source))),
    ]


def _curve(source: Source) -> list[Block]:
    curve = doses.doses(source.results)
    if not curve:
        return []
    lines = arm_lines.dose_lines(source.results)
    return [Items(lines, title="Dose and response"), dose_figure.draw(source, curve)]


def _models_table(source: Source) -> Table:
    """How far the models of each arm were trained."""
    arms = {"true": ("true labels", source.true)}
    arms |= {name: (described(arm_lines.arm_of(name, arm)), arm.variants) for name, arm in source.results.arms.items()}
    rows = []
    for name, (words, names) in arms.items():
        found = [source.results.variants[one] for one in names]
        spans = [
            span(one.label_agreement for one in found),
            span(one.on_its_labels for one in found),
            span(one.epochs for one in found),
            span(one.test.auroc for one in found),
            span(one.own_test.auroc if one.own_test else None for one in found),
        ]
        rows.append([name, words, len(names), *spans])
    header = ["arm", "labels", "models", "labels kept", "balanced accuracy on them", "epochs", "AUROC on test"]
    caption = (
        "Labels kept: share of the training labels that equal the true ones. AUROC on test is of the true labels; for"
        " models of another column, their AUROC of that column stands beside it."
    )
    return Table("arm_models", caption, [*header, "AUROC of its own labels"], rows)


def _verdicts_table(source: Source) -> Table:
    rows = [
        [name, method_name(method), found.verdict, *method_details.columns(found.numbers)]
        for name, arm in source.results.arms.items()
        for method, found in arm.methods.items()
    ]
    caption = (
        "The test of every arm and method in the primary view, scale and metric. Where there is no p, the reasons below"
        " say why."
    )
    return Table("arm_verdicts", caption, ["arm", "method", "verdict", *method_details.HEADER], rows, ("arm", "method"))


def _reasons(source: Source) -> Iterator[Block]:
    for name, arm in source.results.arms.items():
        yield Items(_lines(source, arm), title=f"{name}: {described(arm_lines.arm_of(name, arm))}")


def _lines(source: Source, arm: ArmResult) -> list[str]:
    """What holds for every method, in a line of its own, and then each."""
    alike = common(found.reasons for found in arm.methods.values())
    lines = [f"Every method: {' '.join(alike)}"] if alike else []
    for method, found in arm.methods.items():
        share = estimates.written(found.numbers.share, 2)
        beside = [method_details.without_p(source, method, found, arm.variants), found.on_every_film]
        own = " ".join([*found.reasons[len(alike) :], *filter(None, beside)])
        lines.append(f"{method_name(method)}, {found.verdict}, L {share}{f': {own}' if own else ''}")
    return lines
