"""How we print: to stdout, in colour on a terminal only, never wrapped where a script reads it."""

import sys

from rich.console import Console

_UNWRAPPED = 10_000


def console() -> Console:
    """A console for results. It follows NO_COLOR, and the width of the terminal if there is one."""
    return Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else _UNWRAPPED)
