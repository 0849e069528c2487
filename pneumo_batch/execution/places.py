"""Where things are on this machine: our own for a while, and Ray's sockets and token where its choice would not do."""

import os
import secrets
import sys
import tempfile
from pathlib import Path

from pneumo_batch import terminal
from pneumo_batch.errors import JobError

# Of a socket's path in bytes, without the zero that ends it, and what Ray puts behind the folder for temporary files.
_MOST = 103 if sys.platform == "darwin" else 107
_BEHIND = len("/ray/session_2026-11-26_11-04-00_123456_1234567/sockets/plasma_store")
_SHORT = "/tmp"  # noqa: S108 - Ray's own default, in which it makes a folder


def own_folder() -> Path:
    """For what only processes of this machine need, and nobody after the run. Raises PermissionError."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    mine = Path(tempfile.gettempdir()) / f"pneumo-batch-{user}"
    mine.mkdir(mode=0o700, exist_ok=True)
    if mine.stat().st_uid != user:
        raise PermissionError(f"{mine}: belongs to another user; set TMPDIR to a folder of your own")
    return mine


def temporary_folder() -> str | None:
    """For Ray's `_temp_dir` where TMPDIR or RAY_TMPDIR is too long for the names of sockets; None where it is not.

    Raises JobError when there is no other place.
    """
    name = "RAY_TMPDIR" if "RAY_TMPDIR" in os.environ else "TMPDIR"
    folder = os.environ.get(name, "")
    if sys.platform == "win32" or len(os.fsencode(folder)) <= _MOST - _BEHIND:
        return None
    room = _MOST - _BEHIND
    problem = f"{name} is {len(os.fsencode(folder))} bytes long and Ray's sockets leave room for {room}"
    short = Path(_SHORT, "ray")
    if not _is_writable(short):
        raise JobError(f"{problem}, and {short} is not writable: set RAY_TMPDIR or TMPDIR to a shorter folder")
    terminal.say(f"warning: {problem}: its files go to {short}; RAY_TMPDIR chooses another folder", level="warning")
    return str(short)


def token() -> str | None:
    """For a Ray of this process alone, where it could neither find a token nor write ~/.ray/auth_token; else None."""
    given = {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(os.environ)
    if given or os.environ.get("RAY_AUTH_MODE", "token") != "token":
        return None
    try:
        path = Path.home() / ".ray" / "auth_token"
        known = os.access(path, os.R_OK) or _is_writable(path)
    except RuntimeError:  # no HOME, and a user whom the system does not know
        known = False
    return None if known else secrets.token_hex(32)


def _is_writable(path: Path) -> bool:
    """Whether a file or folder can be made, or written where it is there already."""
    if path.is_file():
        return os.access(path, os.W_OK)
    nearest = next(place for place in (path, *path.parents) if place.exists())
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
