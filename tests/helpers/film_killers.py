"""Work on films in processes of their own that ends badly on some of them, and a file system that does."""

import os
import signal
import time

from fsspec.implementations.local import LocalFileSystem

from pneumo_batch.errors import RejectedImage


def end_badly(name, once=None):
    """What a film's name asks for; `once` is a file that tells that it has happened already."""
    if "dies" in name and not (once and once.exists()):
        if once:
            once.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    while "hangs" in name:
        time.sleep(1)
    if "fails" in name:
        raise OSError(28, "No space left on device", "there")


def names(block, before, once=None):
    """(id, reason against it) of every film."""
    found = []
    for image_id in block["image_id"].to_pylist():
        try:
            before(image_id)
            end_badly(image_id, once)
            found.append((image_id, None))
        except RejectedImage as error:
            found.append((image_id, str(error)))
    return found


class DeadlyFiles(LocalFileSystem):
    """Local files, some of which must not be opened."""

    def _open(self, path, *arguments, **options):
        end_badly(path)
        return super()._open(path, *arguments, **options)


class Unreadable:
    """Work that ends the process that it is sent to."""

    def __reduce__(self):
        return os._exit, (3,)
