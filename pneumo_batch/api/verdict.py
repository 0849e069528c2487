"""What a test in memory comes to, as people and programs read it."""

import base64
import dataclasses
import html
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib

from pneumo_batch.core.statistics import wording
from pneumo_batch.core.statistics.outcomes import Outcome
from pneumo_batch.core.statistics.results import MethodResult
from pneumo_batch.report import estimates
from pneumo_batch.report.figures import base, decomposition

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CELL = 'style="text-align: left; vertical-align: top"'


@dataclass(frozen=True)
class Share:
    """The label share L with its 95 % interval; over patients alone, `these_models_only`, with fewer than three models
    of a kind. None where L or an interval is undefined.
    """

    value: float | None
    ci_low: float | None
    ci_high: float | None
    these_models_only: bool


@dataclass(frozen=True)
class MethodVerdict:
    """The verdict of one method in the primary view, scale and metric; `result` has every number of it."""

    method: str
    result: MethodResult

    @property
    def verdict(self) -> Outcome:
        return self.result.verdict

    @property
    def share(self) -> Share:
        share = self.result.numbers.share
        low, high, only = estimates.ends(share) or (None, None, False)
        return Share(share.value, low, high, only)

    @property
    def reasons(self) -> list[str]:
        """What decides."""
        return self.result.reasons

    @property
    def read(self) -> str | None:
        """The line a reader can act on where views or scales disagree, None where they agree."""
        return self.result.read

    @property
    def details(self) -> dict[str, Any]:
        """The method's block of verdict.json, as plain JSON values."""
        return dataclasses.asdict(self.result)

    def __str__(self) -> str:
        return self._text()

    def _text(self, said: int = 0) -> str:
        """Without the first reasons, which are `said` of every method."""
        share = estimates.written(self.result.numbers.share, 2)
        lines = [f"{wording.method_name(self.method)}: {self.verdict}, label share {share}", *self.reasons[said:]]
        return "\n  ".join([*lines, self.read] if self.read else lines)


@dataclass(frozen=True, repr=False)
class Verdict:
    """The verdict of every method, by its name: `verdict["grad_cam"].share.value`.

    `primary` is the view, scale and metric it is read from, `threshold` that of the label share, `models` their number.
    """

    methods: Mapping[str, MethodVerdict]
    primary: Mapping[str, str]
    threshold: float
    models: int

    def __getitem__(self, method: str) -> MethodVerdict:
        return self.methods[method]

    @property
    def headline(self) -> str:
        """The answer in a few sentences."""
        return wording.headline(self._results, self.models)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, as verdict.json has them: `primary`, `threshold` and `methods`."""
        methods = {name: one.details for name, one in self.methods.items()}
        return {"primary": dict(self.primary), "threshold": self.threshold, "methods": methods}

    @property
    def _results(self) -> dict[str, MethodResult]:
        return {name: one.result for name, one in self.methods.items()}

    def plot(self) -> "Figure":
        """What true models agree on about a film, split into what the labels account for and what the film does.

        Raises ValueError where it cannot be split: that takes two true models and a random one.
        """
        with matplotlib.rc_context(base.STYLE):
            figure = decomposition.figure(self._results)
        if figure is None:
            raise ValueError("nothing to draw: the label share takes two true models and a random one")
        return figure

    @property
    def _common(self) -> list[str]:
        """The reasons of every method."""
        return wording.common(one.reasons for one in self.methods.values())

    def __repr__(self) -> str:
        said = self._common
        return "\n".join(
            ["\n  ".join([self.headline, *said]), *(one._text(len(said)) for one in self.methods.values())]
        )

    def _repr_html_(self) -> str:
        """The headline, the figure, and a row a method."""
        head = "".join(f"<th {_CELL}>{name}</th>" for name in ("method", "verdict", "label share", "why"))
        said = self._common
        rows = "".join(f"<tr>{_row(one, len(said))}</tr>" for one in self.methods.values())
        above = f"<p><b>{html.escape(self.headline)}</b></p>" + (
            f"<p>{html.escape(' '.join(said))}</p>" if said else ""
        )
        return f"{above}{self._image()}<table><tr>{head}</tr>{rows}</table>"

    def _image(self) -> str:
        with matplotlib.rc_context(base.STYLE):
            picture = decomposition.of_methods(self._results)
        if picture is None:
            return ""
        data = base64.b64encode(picture.data).decode()
        return f'<img style="max-width: 100%" alt="{html.escape(picture.alt)}" src="data:image/svg+xml;base64,{data}">'


def _row(one: MethodVerdict, said: int) -> str:
    share = estimates.written(one.result.numbers.share, 2)
    why = [*one.reasons[said:], *([one.read] if one.read else [])]
    texts = (wording.method_name(one.method), one.verdict, share, " ".join(why))
    return "".join(f"<td {_CELL}>{html.escape(text)}</td>" for text in texts)
