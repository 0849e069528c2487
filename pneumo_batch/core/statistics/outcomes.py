"""What can be concluded about a method. Apart from the rule that decides, which imports what the statistics need."""

from typing import Literal, NamedTuple, get_args

Outcome = Literal["sensitive", "insensitive", "inconclusive", "invalid"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
Specific = Literal["specific", "unspecific", "inconclusive", "invalid"]  # of the maps of two targets

# How a reason ends where h is not above 0, and no model is to blame: known to be next to nothing, or not known.
NO_MAP = "There is no reproducible map to test."
UNTOLD_MAP = "There is no map known to be reproducible, which the test takes."


class Requirement(NamedTuple):
    """A verdict that a run has to come to: of one method or of every one, for one target or for every one.

    `arm` is the one that true models are contrasted with; None is that of the run's verdicts, mostly the random one.
    """

    method: str | None
    verdict: str
    target: str | None = None
    arm: str | None = None

    @property
    def text(self) -> str:
        """As it is written: [ARM/][METHOD][@TARGET=]VERDICT."""
        of = f"{self.method or ''}{'' if self.target is None else f'@{self.target}'}"
        arm = f"{self.arm}/" if self.arm else ""
        return f"{arm}{of}={self.verdict}" if of else f"{arm}{self.verdict}"
