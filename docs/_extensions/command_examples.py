"""The reference of commands: the example of a command as a block to copy, and no list of what its usage line shows."""

import click
from sphinx.application import Sphinx

_EXAMPLE = "| Example:"  # what click keeps as it was written is a block of such lines
_LINE = "|   "


def _as_code(_app: Sphinx, _context: click.Context, lines: list[str]) -> None:
    if _EXAMPLE in lines:
        start = lines.index(_EXAMPLE)
        commands = [f"   $ {line.removeprefix(_LINE)}" for line in lines[start + 1 :] if line.startswith(_LINE)]
        lines[start:] = [".. code-block:: console", "", *commands, ""]


def _leave_out(_app: Sphinx, _context: click.Context, lines: list[str]) -> None:
    lines.clear()


def setup(app: Sphinx) -> dict[str, bool]:
    app.setup_extension("sphinx_click")
    app.connect("sphinx-click-process-description", _as_code)
    app.connect("sphinx-click-process-arguments", _leave_out)
    return {"parallel_read_safe": True}
