"""Parts of the path that an image is known by, as `pathlib` tells them in ten times the time.

An image id is a POSIX path below a root without empty parts, `.` or `..`; a name is its last part.
"""


def name(path: str) -> str:
    """The last part of a path."""
    return path.rpartition("/")[2]


def suffix(path: str) -> str:
    """What follows the last dot of a name, with the dot; nothing where the name begins or ends with it."""
    last = name(path)
    dot = last.rfind(".")
    return last[dot:] if 0 < dot < len(last) - 1 else ""


def without_suffix(path: str) -> str:
    """The whole path but for its suffix."""
    return path[: len(path) - len(suffix(path))]


def stem(path: str) -> str:
    """The last part of a path without its suffix."""
    return without_suffix(name(path))


def is_normal(path: str) -> bool:
    """Whether a path has neither empty parts nor `.` or `..`, so that it is the only way to write itself."""
    return not any(part in ("", ".", "..") for part in path.split("/"))


def below(folder: str, path: str) -> str:
    """A path below a folder, which may be "", "." or the root itself."""
    return path if folder in ("", ".") else f"{folder.rstrip('/')}/{path}"
