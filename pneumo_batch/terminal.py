"""How we print: to stdout, in colour on a terminal only, never wrapped where a script reads it."""

import datetime
import json
import sys
from typing import Any

from rich.console import Console

_UNWRAPPED = 10_000
_formats = {"log": "text"}


def console() -> Console:
    """A console for results. It follows NO_COLOR, and the width of the terminal if there is one."""
    return Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else _UNWRAPPED)


def use_json() -> None:
    """From now on, what goes to stderr is one JSON object a line."""
    _formats["log"] = "json"


def logs_json() -> bool:
    return _formats["log"] == "json"


def say(text: str, level: str = "info", **fields: Any) -> None:
    """A line on stderr; `fields` are told to machines only."""
    if logs_json():
        time = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        text = json.dumps({"time": time, "level": level, "message": text, **fields}, default=str)
    print(text, file=sys.stderr, flush=True)
