"""How well maps point at findings, in a line for terminals and logs."""

from collections.abc import Iterator, Mapping

from pneumo_batch.core.statistics.digits import fixed, small
from pneumo_batch.core.statistics.pointing import MEAN_MASK, Localisation, Means, OfFinding
from pneumo_batch.core.statistics.wording import method_name

_MEASURE = "auprc"


def lines(found: Localisation) -> Iterator[str]:
    """A line a finding: AUPRC of true and of random models, of the mean mask, and chance."""
    for finding, one in found.findings.items():
        parts = [_method(method, one) for method in one.kinds]
        if mean_mask := _value(one.baselines, MEAN_MASK):
            parts.append(f"mean mask {mean_mask}")
        yield f"pointing at {finding} (AUPRC, {one.films} films): {', '.join(parts)}, chance {small(one.chance, 2)}"


def _method(method: str, one: OfFinding) -> str:
    said = [f"{value} {kind}" for kind in one.kinds[method] if (value := _value(one.kinds[method], kind))]
    return f"{method_name(method)} {' and '.join(said) or 'none'}"


def _value(means: Mapping[str, Means], name: str) -> str | None:
    mean = means[name][_MEASURE].mean if name in means else None
    return None if mean is None else fixed(mean, 2)
