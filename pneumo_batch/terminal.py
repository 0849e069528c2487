"""How we print: to stdout, in colour on a terminal only, names as they are: no markup, no wrapping of lines."""

import codecs
import datetime
import io
import json
import sys

from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.table import Column, Table

_UNWRAPPED = 10_000
_formats = {"log": "text"}


def console() -> Console:
    """A console for results. It follows NO_COLOR, and the width of the terminal if there is one."""
    width = None if sys.stdout.isatty() else _UNWRAPPED
    return Console(file=sys.stdout, width=width, soft_wrap=True, markup=False, emoji=False, highlight=False)


def progress_console() -> Console:
    """A console for bars, on stderr."""
    return Console(stderr=True, markup=False, emoji=False, highlight=False)


class _Table(Table):
    """Without blanks at the ends of lines: rich pads every line to the longest one."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        parts = (part for part in super().__rich_console__(console, options) if isinstance(part, Segment))
        for line in Segment.split_lines(parts):
            while line and not line[-1].text.strip():
                line.pop()
            if line:
                yield from [*line[:-1], line[-1]._replace(text=line[-1].text.rstrip())]
            yield Segment.line()


def table(*headers: str) -> Table:
    """A table whose long words go on in the next line, on a terminal too narrow for them."""
    return _Table(*(Column(header, overflow="fold") for header in headers), box=None, pad_edge=False)


def keep_names() -> None:
    """From now on any name of a file can be printed: bytes that are no text as they are, other signs as escapes."""
    codecs.register_error("names", _encode_name)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="names")


def _encode_name(error: UnicodeError) -> tuple[str | bytes, int]:
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(error)


def use_json() -> None:
    """From now on, what goes to stderr is one JSON object a line."""
    _formats["log"] = "json"


def logs_json() -> bool:
    return _formats["log"] == "json"


def say(text: str, level: str = "info", **fields: object) -> None:
    """A line on stderr; `fields` are told to machines only."""
    if logs_json():
        time = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        text = json.dumps({"time": time, "level": level, "message": text, **fields}, default=str)
    print(text, file=sys.stderr, flush=True)


def size(count: float) -> str:
    """Bytes in a unit that suits them."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
