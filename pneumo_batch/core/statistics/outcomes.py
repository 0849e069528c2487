"""What can be concluded about a method. Apart from the rule that decides, which imports what the statistics need."""

from typing import Literal, NamedTuple, get_args

Outcome = Literal["sensitive", "insensitive", "inconclusive", "invalid"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
Specific = Literal["specific", "unspecific", "inconclusive", "invalid"]  # of the maps of two targets


class Requirement(NamedTuple):
    """A verdict that a run has to come to: of one method or of every one, for one target or for every one."""

    method: str | None
    verdict: str
    target: str | None = None

    @property
    def text(self) -> str:
        """As it is written: [METHOD][@TARGET=]VERDICT."""
        of = f"{self.method or ''}{'' if self.target is None else f'@{self.target}'}"
        return f"{of}={self.verdict}" if of else self.verdict
