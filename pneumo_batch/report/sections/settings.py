"""Settings of one method side by side: how far true models agree on its maps at all, and the test of each."""

from collections.abc import Sequence

from pneumo_batch.core.method_names import method_of, setting_of
from pneumo_batch.core.statistics.wording import method_name
from pneumo_batch.report import estimates
from pneumo_batch.report.parts import Block, Fold, Table, slug
from pneumo_batch.report.source import Source

_HEADER = ["setting", "noise ceiling TT", "floor TTx", "TN", "h", "interval of h", "L", "interval of L", "verdict"]


def blocks(source: Source) -> list[Block]:
    """A table for each method that the run has two settings of, or more."""
    groups: dict[str, list[str]] = {}
    for name in source.methods:
        groups.setdefault(method_of(name), []).append(name)
    return [_fold(source, method, names) for method, names in groups.items() if len(names) > 1]


def _fold(source: Source, method: str, names: Sequence[str]) -> Fold:
    chosen = source.results.primary
    caption = (
        f"Settings of {method_name(method)} in the primary cell ({chosen.view} view, {chosen.scale} scale,"
        f" {chosen.metric}). TT is the noise ceiling: no map of a setting can be expected to agree better with anything"
        " than the maps of two true models agree on a film. A setting with a low ceiling leaves little to test."
    )
    rows = [_row(source, name) for name in names]
    title = f"{method_name(method)} by setting: noise ceiling and test of each"
    return Fold(title, [Table(f"settings_{slug(method)}", caption, _HEADER, rows)])


def _row(source: Source, name: str) -> list[object]:
    found = source.results.methods[name]
    numbers = found.numbers
    means = [numbers.means.get(kind) for kind in ("true_true", "true_true_cross", "true_random")]
    shown = [value for one in (numbers.headroom, numbers.share) for value in (one.value, estimates.interval(one))]
    return [setting_of(name) or "as in the job", *means, *shown, found.verdict]
