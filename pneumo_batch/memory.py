"""Memory that this process has freed, back to the system: its allocators keep it, and what comes next takes more."""

import ctypes

import pyarrow as pa


def give_back() -> None:
    """Return what is free in pyarrow's pool and, where the C library can (glibc), in the heap.

    For between steps that hold tables of all images: else the largest memory is the sum of theirs and not their most.
    """
    pa.default_memory_pool().release_unused()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
