"""The numbers of one test, in the fields of verdict.json: estimates with their intervals, exact permutation tests."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Interval:
    """Both ends of a 95 % interval; None where none can be drawn."""

    ci_low: float | None = None
    ci_high: float | None = None


@dataclass(frozen=True)
class Deviations:
    """Standard errors owed to which true models, which random models and which patients there happened to be."""

    true: float | None = None
    random: float | None = None
    patients: float | None = None


@dataclass(frozen=True)
class Estimate:
    """A quantity with its interval over patients and models, and beside it the one that resamples patients alone.

    `df` are Satterthwaite's degrees of freedom. The interval is None with fewer than three models of a kind.
    """

    value: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    patients: Interval = Interval()
    df: float | None = None
    sd: Deviations = Deviations()

    @property
    def for_these_models(self) -> "Estimate":
        """The same quantity with the interval that resamples patients alone."""
        return Estimate(self.value, self.patients.ci_low, self.patients.ci_high, self.patients, None, self.sd)


@dataclass(frozen=True)
class Permutation:
    """`p` is the share of relabelings that reach the statistic; `smallest_p` what complete separation would give."""

    statistic: float
    p: float
    smallest_p: float
    relabelings: int


@dataclass(frozen=True)
class Permutations:
    """Exact tests over relabelings of the models, on M = S - C (same film less its floor) and on S alone."""

    image_specific: Permutation | None = None
    same_film: Permutation | None = None


class OverPatients:
    """A test whose intervals go by patients."""

    patients: int
    effective_patients: float | None

    @property
    def counted(self) -> float:
        """The patients that intervals go by: heads in a verdict.json of before `effective_patients`."""
        return self.patients if self.effective_patients is None else self.effective_patients


@dataclass(frozen=True)
class CellTest(OverPatients):
    """Every number of the test for one method, view, scale and metric.

    `images` are those with a similarity of all four kinds; `means` are over them, by kind. `effective_patients` are as
    how many patients with equally many films theirs count (`bootstrap.effective`); None without a film.
    """

    images: int = 0
    patients: int = 0
    means: Mapping[str, float | None] = field(default_factory=dict)
    difference: Estimate = Estimate()
    everywhere: Estimate = Estimate()
    image_specific: Estimate = Estimate()
    headroom: Estimate = Estimate()
    remainder: Estimate = Estimate()
    share: Estimate = Estimate()
    permutation: Permutations = Permutations()
    effective_patients: float | None = None
