"""What makes a map, by name: "integrated_gradients", or "integrated_gradients@blur" for one of several of its settings.

The whole name stands in columns, tables and verdicts; what a method is, what its maps mean, goes by the part before the
"@". Light: the command line reads job files with it.
"""

import re

_AT = "@"
# Of the part behind the "@": it becomes a part of columns ("<method>__<variant>"), of file names and of `--set` paths.
_SETTING = re.compile(r"[a-z0-9]+(?:_[a-z0-9]+)*")


def method_of(name: str) -> str:
    """The method without its setting."""
    return name.partition(_AT)[0]


def setting_of(name: str) -> str | None:
    """What follows the "@"; None for a method as it is. Raises ValueError where that is no name."""
    _, at, setting = name.partition(_AT)
    if at and not _SETTING.fullmatch(setting):
        raise ValueError(
            f"{name!r}: what follows the @ must be lower-case letters and digits, words joined by a single _, such as "
            "integrated_gradients@blur"
        )
    return setting if at else None
