"""What an item of a checklist is answered with."""

from collections.abc import Callable
from dataclasses import dataclass

from pneumo_batch.report.source import Source


@dataclass(frozen=True)
class Answer:
    """`is_whole` where the run has all that the item asks for; else the text says what is missing."""

    text: str
    is_whole: bool = True


Answering = Callable[[Source], Answer | None]  # None where this run has nothing to say
