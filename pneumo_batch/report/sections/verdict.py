"""The verdict section: an answer that fits one screen, and below it everything that it rests on, folded."""

from collections.abc import Sequence

from pneumo_batch.core.statistics.estimates import CellTest
from pneumo_batch.core.statistics.results import MethodResult
from pneumo_batch.core.statistics.wording import common, headline, method_name
from pneumo_batch.report import reading
from pneumo_batch.report.figures import decomposition, verdict
from pneumo_batch.report.paper.files import Kit
from pneumo_batch.report.parts import (
    Block,
    Finding,
    Fold,
    Items,
    Picture,
    Section,
    Side,
    Stack,
    Table,
    Text,
    span,
)
from pneumo_batch.report.sections import (
    arms,
    method_details,
    paper,
    passes,
    randomization,
    settings,
    similarities,
    targets,
)
from pneumo_batch.report.source import Source


def build(source: Source, kit: Kit) -> Section:
    others = source.others
    blocks = [
        *targets.overview([source, *others]),
        *of_target(source),
        *(targets.fold(one, of_target(one)) for one in others),
        *targets.details(source),
        *randomization.blocks(source),
        Fold("How to read the numbers", [Items(reading.GUIDE)]),
        Fold("Limits: what a verdict does not say", [Items(reading.LIMITS)]),
        Fold("For a paper: methods, results, checklist", paper.blocks(kit)),
    ]
    return Section("verdict", "Verdict", blocks)


def of_target(source: Source) -> list[Block]:
    """The answer, and what it rests on, of one target."""
    drawn = decomposition.draw(source)
    # Where nothing can be split, the similarities themselves are all that there is to see, and stand first.
    ladders = {method: verdict.ladder(source, method) for method in source.methods}
    return [
        *answer(source, [drawn] if drawn else list(ladders.values())),
        *passes.blocks(source),
        *arms.blocks(source),
        *(method_details.fold(source, method, ladders[method] if drawn else None) for method in source.methods),
        *settings.blocks(source),
        *similarities.blocks(source),
    ]


def answer(source: Source, pictures: Sequence[Picture]) -> list[Block]:
    """Headline, what is first to be seen, both arms, and a row for each method."""
    found = {method: source.results.methods[method] for method in source.methods}
    caveats = method_details.shared_caveats(source)
    reasons = common(one.reasons for one in found.values())
    blocks: list[Block] = [Text(headline(found, len(source.variants)), "lead")]
    if reasons:
        blocks.append(Text(" ".join(reasons)))
    if pictures[0].name == decomposition.NAME:
        beside = Stack([_arms(source), Text(reading.picture(source), "note")])
        blocks.append(Side([*pictures, beside], uneven=True))
    else:
        blocks.append(Side([_arms(source), *pictures], columns=3))
    blocks += [_finding(method, one, len(reasons)) for method, one in found.items()]
    if caveats:
        blocks.append(Items(caveats, "small", "Caveats for every method" if len(found) > 1 else "Caveats"))
    return blocks


def _finding(method: str, found: MethodResult, said: int) -> Finding:
    """Without the first reasons, which are `said` of every method."""
    return Finding(
        method_name(method),
        found.verdict,
        found.for_these_models,
        _over(found.numbers),
        found.reasons[said:],
        found.read,
        found.on_every_film,
    )


def _over(test: CellTest) -> str:
    """How much the verdict rests on; "" where no film has every similarity, which the reasons say."""
    if not test.images:
        return ""
    films = "1 film" if test.images == 1 else f"{test.images} films"
    return f"{films} of {'1 patient' if test.patients == 1 else f'{test.patients} patients'}"


def _arms(source: Source) -> Table:
    """How far both kinds of models were trained: a difference of the two shows in maps beside that of the labels."""
    rows = []
    for words, names in (("true", source.true), ("random", source.random)):
        found = [source.results.variants[name] for name in names]
        known = span(one.on_its_labels for one in found)
        epochs, auroc = span(one.epochs for one in found), span(one.test.auroc for one in found)
        rows.append([words, len(names), known, epochs, auroc])
    header = ["labels", "models", "balanced accuracy on them", "epochs", "AUROC on test"]
    caption = "Balanced accuracy on the training labels the models were given, in eval mode."
    return Table("arms", caption, header, rows)
