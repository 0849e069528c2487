import contextlib
import platform
import subprocess
import sys

import pytest
import torch

from pneumo_batch.core.models import runtime

FAULTS = """
import resource, sys, torch
from pneumo_batch.core.models import runtime
torch.set_num_threads(1)
if sys.argv[1] == "keep":
    assert runtime.keep_memory()
for _ in range(10):
    torch.ones(16 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(16 << 20)  # 64 MiB: above glibc's own threshold
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode):
    done = subprocess.run([sys.executable, "-c", FAULTS, mode], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator of this platform is not glibc's")
def test_kept_memory_is_not_faulted_in_again():
    anew = faults("default")
    assert anew >= 10 * (64 << 20) // (2 << 20)  # every page, if huge ones
    assert faults("keep") < anew / 4


def test_threads():
    before = torch.get_num_threads()
    runtime.use_threads(1)
    assert torch.get_num_threads() == 1
    runtime.use_threads(before)
    with pytest.raises(ValueError, match="threads must be 1 or more, not 0"):
        runtime.use_threads(0)


@pytest.mark.parametrize("allow", [False, True])
def test_arithmetic_is_exact_unless_asked_and_settings_return(allow):
    before = (torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic)
    with runtime.exact_arithmetic(allow_tf32=allow):
        assert torch.get_float32_matmul_precision() == ("high" if allow else "highest")
        assert torch.backends.cudnn.allow_tf32 is allow
        assert torch.backends.cudnn.deterministic
        assert not torch.backends.cudnn.benchmark
    after = (torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic)
    assert after == before


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_an_autocast_does_not_reach_into_exact_arithmetic_and_goes_on_after_an_error(kind):
    before = torch.is_autocast_enabled(kind)
    torch.set_autocast_enabled(kind, True)
    try:
        with contextlib.suppress(KeyError), runtime.exact_arithmetic():
            assert not torch.is_autocast_enabled(kind)
            raise KeyError
        assert torch.is_autocast_enabled(kind)
    finally:
        torch.set_autocast_enabled(kind, before)


@pytest.mark.parametrize("allowed", [False, True])
def test_repeatable_arithmetic_leaves_tf32_as_it_is_and_settings_return(allowed, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", allowed)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    with runtime.repeatable_arithmetic():
        assert torch.backends.cudnn.deterministic
        assert not torch.backends.cudnn.benchmark
        assert torch.backends.cudnn.allow_tf32 is allowed
    assert torch.backends.cudnn.benchmark
    assert not torch.backends.cudnn.deterministic
    assert torch.backends.cudnn.allow_tf32 is allowed


CHOSEN = """
import sys, torch
from pneumo_batch.core.models import runtime
exec(sys.argv[1])
backends = torch.backends
names = ("cuda.matmul", "cudnn.conv", "cudnn.rnn", "mkldnn.matmul", "mkldnn.conv", "mkldnn.rnn")
def state():
    found = [getattr(getattr(backends, one), kind).fp32_precision for one, kind in (name.split(".") for name in names)]
    return *found, backends.cudnn.enabled, backends.cudnn.benchmark, backends.cudnn.deterministic
before = state()
for allow in (False, True):
    try:
        with runtime.exact_arithmetic(allow):
            precision = "tf32" if allow else "ieee"
            assert state() == (precision,) * 3 + ("ieee",) * 3 + (True, False, True), state()
            raise KeyError
    except KeyError:
        assert state() == before, (state(), before)
with runtime.repeatable_arithmetic():
    assert state()[:6] == before[:6]
    assert state()[6:] == (True, False, True)
assert state() == before
"""


@pytest.mark.skipif(not hasattr(torch.backends, "fp32_precision"), reason="this torch has no setting by operation")
@pytest.mark.parametrize("place", ["", "cuda.matmul.", "cudnn."])
def test_settings_of_torchs_newer_kind_are_kept_too(place):
    """Once it is used, torch refuses to tell the older ones."""
    chosen = f"torch.backends.{place}fp32_precision = 'tf32'; torch.backends.cudnn.benchmark = True"
    done = subprocess.run([sys.executable, "-c", CHOSEN, chosen], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
