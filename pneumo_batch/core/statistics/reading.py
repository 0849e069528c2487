"""A method's numbers in sentences: what happens everywhere, what to read where views disagree."""

from collections.abc import Iterable, Mapping, Sequence

from pneumo_batch.core.similarity.per_image import Cell
from pneumo_batch.core.statistics.digits import fixed
from pneumo_batch.core.statistics.estimates import CellTest, Estimate
from pneumo_batch.core.statistics.words import RANDOM_WORDS, Words

_SLIGHT = 0.2  # below it a correlation is "very weak" (Evans, Straightforward Statistics, 1996)
_PLURAL = {"signed": "signed maps", "magnitude": "magnitudes", "pixel": "pixels", "region": "regions"}


def on_every_film(test: CellTest, words: Words = RANDOM_WORDS) -> str | None:
    """What happens everywhere, in a sentence: models also differ by what they show on every film."""
    floor, mixed = test.means.get("true_true_cross"), test.means.get("true_random_cross")
    if test.everywhere.value is None or floor is None or mixed is None:
        return None
    everywhere, over = test.everywhere, None
    if everywhere.ci_low is None:  # too few models to speak of others
        everywhere, over = everywhere.for_these_models, "patients"
    low, high = everywhere.ci_low, everywhere.ci_high
    if low is None or high is None:
        change = ""
    elif low > 0 or high < 0:
        change = f", {words.changed}"
    else:
        change = f", {words.unchanged if max(-low, high) < _SLIGHT else words.untold}"
    h = test.headroom.value
    if h is not None and h > 0 and low is not None and low > h:
        change += f"; that is more than true models agree on about any one film (h = {fixed(h)}), and no part of L"
    return (
        f"Everywhere: on films of different patients two true models agree by {fixed(floor)}, a true and {words.one} by"
        f" {fixed(mixed)}; the difference is {with_interval(everywhere, over)}{change}."
    )


def few_patients(patients: int, counted: float, fewest: int) -> str | None:
    """Why there is no interval, where patients count as fewer than that takes; None with enough, or without any."""
    if not 0 < counted < fewest:
        return None
    if patients >= fewest:
        as_many = min(round(counted, 1), fewest - 0.1)  # 4.96 are not said to be 5
        return f"{patients} patients count as {as_many:g}, since some have many more films than others"
    return f"only {'one patient has' if patients == 1 else f'{patients} patients have'} a film with every similarity"


def read(primary: Cell, outcomes: Mapping[Cell, str], tests: Mapping[Cell, CellTest]) -> str | None:
    """One line a reader can act on where views or scales disagree by the primary metric; None where they agree."""
    here = {cell: outcome for cell, outcome in outcomes.items() if cell.metric == primary.metric}
    if len(set(here.values())) == 1:
        return None
    across_views = {cell.view: (cell, here[cell]) for cell in here if cell.scale == primary.scale}
    across_scales = {cell.scale: (cell, here[cell]) for cell in here if cell.view == primary.view}
    for choices, words in ((across_views, _READ_VIEW), (across_scales, _READ_SCALE)):
        good = [name for name, (_, outcome) in choices.items() if outcome == "sensitive"]
        if len(good) == 1 and len(choices) > 1:
            parts = [
                f"{_PLURAL[name]} are {_rated(cell, outcome, tests)}"
                for name, (cell, outcome) in sorted(choices.items(), key=lambda one: one[0] != good[0])
            ]
            its_own = primary.view if words is _READ_VIEW else primary.scale
            return f"{words[good[0]]}: {joined(parts)}; the verdict is that of {_PLURAL[its_own]}."
    parts = [
        f"{_PLURAL[cell.scale]} of {_PLURAL[cell.view]} are {_rated(cell, outcome, tests)}"
        for cell, outcome in sorted(here.items())
    ]
    return f"Views and scales disagree: {joined(parts)}."


_READ_VIEW = {"signed": "Read the sign", "magnitude": "Read the magnitude"}
_READ_SCALE = {"region": "Read regions", "pixel": "Read pixels"}


def _rated(cell: Cell, outcome: str, tests: Mapping[Cell, CellTest]) -> str:
    share = tests[cell].share.value
    return outcome if share is None or outcome == "invalid" else f"{outcome} (L = {fixed(share, 2)})"


def disagreements(primary: Cell, outcomes: Mapping[Cell, str]) -> list[str]:
    """One sentence for each view and scale where some metric leads to another verdict than the primary cell."""
    sentences = []
    for view, scale in sorted({(cell.view, cell.scale) for cell in outcomes}):
        here = {cell.metric: outcome for cell, outcome in outcomes.items() if (cell.view, cell.scale) == (view, scale)}
        other = sorted({outcome for outcome in here.values() if outcome != outcomes[primary]})
        if other:
            parts = [f"{outcome} by {joined(m for m, o in here.items() if o == outcome)}" for outcome in other]
            sentences.append(f"In the {view} view at {scale} scale the method would be {', '.join(parts)}.")
    return sentences


def without_p(test: CellTest, models: tuple[int, int], constant: Sequence[str]) -> str | None:
    """Why there is no p over models; None where there is one.

    `models` are how many true ones and others there are, `constant` those whose maps are constant on every film.
    """
    true, others = models
    if test.permutation.image_specific:
        return None
    if true < 2 or not others:
        return "No p over models, which takes two true models and one to contrast with."
    if constant:
        return (
            f"No p over models, which takes a similarity of every two: maps of {joined(constant)} are constant on every"
            " film."
        )
    if not test.images:
        return "No p over models: no film has a similarity of every kind."
    return "No p over models, which takes a similarity of every two: on no film there is one of each."


def with_interval(estimate: Estimate, over: str | None) -> str:
    """A number with its 95 % interval, where it has one."""
    if estimate.value is None:
        return "undefined"
    if estimate.ci_low is None:
        return fixed(estimate.value)
    suffix, high = f" over {over}" if over else "", estimate.ci_high
    assert high is not None
    return f"{fixed(estimate.value)} (95 % interval{suffix} {fixed(estimate.ci_low)} to {fixed(high)})"


def joined(names: Iterable[str]) -> str:
    """`a, b, c`."""
    return ", ".join(names)
