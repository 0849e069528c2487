"""Settings of the process that computes maps: memory allocator, threads, exact arithmetic."""

import contextlib
import ctypes
import platform
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

# Options of glibc's mallopt(3), from malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_KEEP = 1 << 30  # bytes: tensors below this are kept, and so is as much freed memory
_KEEP_OLD = 32 << 20  # the largest M_MMAP_THRESHOLD that glibc before 2.35 takes

# Of threads of torch's own, for which torch then does what it says; a worker would print it at its first image.
warnings.filterwarnings("ignore", "Attempting to run cuBLAS, but there was no current CUDA context")


def keep_memory() -> bool:
    """Make malloc keep freed memory for this process's next pass, instead of mapping and faulting it in anew.

    By default glibc maps every tensor above 32 MiB at most and unmaps it when freed, so each pass pays for page faults.
    Takes effect at once, also after threads have started. Returns False, changing nothing, where malloc is not glibc's.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    if not any(mallopt(_M_MMAP_THRESHOLD, size) for size in (_KEEP, _KEEP_OLD)):
        return False
    return bool(mallopt(_M_TRIM_THRESHOLD, _KEEP) and mallopt(_M_TOP_PAD, 64 << 20))


def use_threads(threads: int) -> None:
    """Let torch use `threads` threads: Ray sets OMP_NUM_THREADS for an actor, which torch may have read before."""
    if threads < 1:
        raise ValueError(f"threads must be 1 or more, not {threads}")
    torch.set_num_threads(threads)


@contextmanager
def exact_arithmetic(allow_tf32: bool = False) -> Iterator[None]:
    """Full float32 products and the same cuDNN algorithm every time; the former settings return afterwards.

    An autocast that the caller is in does not reach inside. `allow_tf32` trades the products' last digits for speed on
    GPUs that have TF32. CPUs always compute exactly.
    """
    with contextlib.ExitStack() as undo:
        for kind in ("cpu", "cuda"):  # torch.autocast warns of a CUDA that is not there, in 2.6 even to turn it off
            undo.callback(torch.set_autocast_enabled, kind, torch.is_autocast_enabled(kind))
            torch.set_autocast_enabled(kind, False)
        if _set_by_operation():
            undo.enter_context(repeatable_arithmetic())
            undo.enter_context(_precision_of_operations("tf32" if allow_tf32 else "ieee"))
        else:
            undo.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
            torch.set_float32_matmul_precision("high" if allow_tf32 else "highest")
            exact = {"enabled": True, "benchmark": False, "deterministic": True, "allow_tf32": allow_tf32}
            undo.enter_context(torch.backends.cudnn.flags(**exact))
        yield


@contextmanager
def repeatable_arithmetic() -> Iterator[None]:
    """The same cuDNN algorithm every time, TF32 as the process has it; the former settings return afterwards."""
    wanted = {"enabled": True, "benchmark": False, "deterministic": True}
    with _settings((torch.backends.cudnn, name, value) for name, value in wanted.items()):
        yield


def _set_by_operation() -> bool:
    """Whether this process has chosen TF32 by `fp32_precision`; torch then no longer tells the older settings."""
    try:
        _ = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    except RuntimeError:
        return True
    return False


@contextmanager
def _precision_of_operations(precision: str) -> Iterator[None]:
    """Of each by itself: what is set for one goes before what is set for all of them."""
    backends: Any = torch.backends
    on_gpus = (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn)
    on_cpus = (backends.mkldnn.matmul, backends.mkldnn.conv, backends.mkldnn.rnn)
    wanted = [(one, precision) for one in on_gpus] + [(one, "ieee") for one in on_cpus]
    with _settings((one, "fp32_precision", value) for one, value in wanted):
        yield


@contextmanager
def _settings(wanted: Iterable[tuple[Any, str, object]]) -> Iterator[None]:
    with contextlib.ExitStack() as undo:
        for holder, name, value in wanted:
            undo.callback(setattr, holder, name, getattr(holder, name))
            setattr(holder, name, value)
        yield
