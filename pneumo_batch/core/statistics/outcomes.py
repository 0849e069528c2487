"""What can be concluded about a method. Apart from the rule that decides, which imports what the statistics need."""

from typing import Literal, NamedTuple, get_args

Outcome = Literal["sensitive", "insensitive", "inconclusive", "invalid"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


class Requirement(NamedTuple):
    """A verdict that a run has to come to: of one method, or of every one."""

    method: str | None
    verdict: str

    @property
    def text(self) -> str:
        return self.verdict if self.method is None else f"{self.method}={self.verdict}"
