"""What can be concluded about a method. Apart from the rule that decides, which imports what the statistics need."""

from typing import Literal, get_args

Outcome = Literal["sensitive", "insensitive", "inconclusive", "invalid"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
