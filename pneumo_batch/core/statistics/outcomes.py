"""What can be concluded about a method. Apart from the rule that decides, which imports what the statistics need."""

from typing import Literal, NamedTuple, get_args

Outcome = Literal["sensitive", "insensitive", "inconclusive", "invalid"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


class Requirement(NamedTuple):
    """A verdict that a run has to come to: of one method, or of every one; of an arm, or of the random one."""

    method: str | None
    verdict: str
    arm: str | None = None

    @property
    def text(self) -> str:
        arm = f"{self.arm}/" if self.arm else ""
        return f"{arm}{self.verdict}" if self.method is None else f"{arm}{self.method}={self.verdict}"
