"""Weights in and out: safetensors, written by us; .safetensors, .pth, .pt and Lightning .ckpt, read from anyone."""

import hashlib
import io
import pathlib
import pickle
import warnings
from collections.abc import Iterator, Mapping

import safetensors
import safetensors.torch
import torch
from torch import nn

from pneumo_batch.core.models import programs

_WRAPPERS = ("state_dict", "model", "model_state_dict")
_COUNTER = "num_batches_tracked"


class OtherNames(ValueError):  # noqa: N818 - not an error of ours: these are the weights of another network
    """A state dict whose entries are not those of the network; the message names the first."""


def state_bytes(model: nn.Module) -> bytes:
    """The weights and buffers of `model` as safetensors, on the CPU and in torch's default memory layout."""
    # The clone separates tied weights, which safetensors refuses.
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in model.state_dict().items()}
    return safetensors.torch.save(state)


def digest(model: nn.Module) -> str:
    """SHA-256 of all weights, whatever file they come from; the names of a network that another wraps are others."""
    found = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        if isinstance(tensor, torch.Tensor) and not name.endswith(_COUNTER):
            found.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
            found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def first_copy(digests: Mapping[str, str]) -> tuple[str, str] | None:
    """The first model that has the digest of another, and that one: copies agree on every map, by whatever method."""
    first: dict[str, str] = {}
    for name, digest in digests.items():
        if (other := first.setdefault(digest, name)) != name:
            return name, other
    return None


def load_state(model: nn.Module, source: str | pathlib.Path | bytes) -> nn.Module:
    """Load weights into `model`, strictly, and return it.

    `source` is a file or its bytes; its content, not its name, tells the format: safetensors, or what `torch.save`
    wrote of a state dict, alone or under "state_dict" (Lightning) or "model", with a prefix such as "module."
    stripped. Counters of batch norm (`num_batches_tracked`), which older files lack, may be missing. Nothing in it is
    executed, unless `model` is itself a program: then the weights of one are taken too.
    Raises ValueError, in one line, for what cannot be read, does not fit, is not finite, or is there twice.
    """
    name, data = ("checkpoint", source) if isinstance(source, bytes) else (str(source), _read(source))
    loaded, expected = _loaded(name, data, programs.kind(model) is not None), model.state_dict()
    _refuse_two(name, loaded, {key: tuple(value.shape) for key, value in model.named_parameters()})
    state = _strip_prefix(_unwrap(name, loaded), expected)
    check(name, state, expected)
    model.load_state_dict({**_counters(expected), **state}, strict=True)
    return model


def read_state(name: str, data: bytes) -> dict[str, torch.Tensor]:
    """The tensors of a file's bytes by name, as they are stored; `name` is for errors. Executes nothing.

    Raises ValueError for what is no state dict.
    """
    loaded = _loaded(name, data, run_programs=False)
    state = _unwrap(name, loaded)
    _refuse_two(name, loaded, {key: tuple(value.shape) for key, value in state.items()})
    return state


def _loaded(name: str, data: bytes, run_programs: bool) -> object:
    program = programs.kind_of(data)
    if program is None:
        return _decode(name, data)
    if run_programs:
        return dict(programs.load(name, data).state_dict())
    raise ValueError(
        f"{name}: a {program} program, whose code would be run to open it: set network.name to this file if you "
        "trust it, or save its state_dict()"
    )


def _read(path: str | pathlib.Path) -> bytes:
    try:
        return pathlib.Path(path).expanduser().read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: cannot read the checkpoint: {error.strerror}") from error


def _decode(name: str, data: bytes) -> object:
    if data[8:9] == b"{":  # safetensors: the header's length in 8 bytes, then its JSON
        try:
            return safetensors.torch.load(data)
        except safetensors.SafetensorError as error:
            raise ValueError(f"{name}: broken safetensors file: {error}") from error
    try:
        with warnings.catch_warnings():  # about pickles of other protocols, which are refused anyway
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise ValueError(
            f"{name}: not a checkpoint of plain tensors (nothing in it was run): save model.state_dict() instead"
        ) from error


def _unwrap(name: str, loaded: object) -> dict[str, torch.Tensor]:
    inner = [loaded[key] for key in _WRAPPERS if key in loaded] if isinstance(loaded, Mapping) else []
    state = next((value for value in inner if isinstance(value, Mapping)), loaded)
    if not isinstance(state, Mapping) or not state:
        raise ValueError(f"{name}: holds {type(state).__name__}, not a state dict: save model.state_dict()")
    for key, value in state.items():
        if not isinstance(value, torch.Tensor):
            raise ValueError(f"{name}: entry {key!r} is {type(value).__name__}, not a tensor: save model.state_dict()")
    return dict(state)


def _refuse_two(name: str, loaded: object, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise ValueError where different weights have these names and shapes: raw and averaged, student and teacher."""
    sets: dict[str, dict[str, torch.Tensor]] = {}
    for where, state in _states(loaded):
        sets |= {where + prefix: weights for prefix, weights in _fitting(state, shapes)}
    first, *others = sets.values() if sets else [{}]
    if any(not torch.equal(weights[key], first[key]) for weights in others for key in shapes):
        found = ", ".join(repr(where) for where in sorted(sets))
        raise ValueError(f"{name}: {len(sets)} sets of weights fit the network, under {found}: save the one you mean")


def _states(loaded: object, where: str = "") -> Iterator[tuple[str, dict[str, torch.Tensor]]]:
    """Every group of tensors in what was loaded, by its place; optimizers and the like have groups too."""
    if not isinstance(loaded, Mapping):
        return
    tensors = {str(key): value for key, value in loaded.items() if isinstance(value, torch.Tensor)}
    if tensors:
        yield where, tensors
    for key, value in loaded.items():
        yield from _states(value, f"{where}{key}.")


def _fitting(
    state: Mapping[str, torch.Tensor], shapes: Mapping[str, tuple[int, ...]]
) -> Iterator[tuple[str, dict[str, torch.Tensor]]]:
    """Each prefix under which a state has all of these names in these shapes, and what it has there."""
    first = next(iter(shapes), None)
    if first is None:
        return
    for prefix in [key.removesuffix(first) for key in state if key == first or key.endswith("." + first)]:
        weights = {key: state[prefix + key] for key in shapes if prefix + key in state}
        if all(key in weights and tuple(weights[key].shape) == shape for key, shape in shapes.items()):
            yield prefix, weights


def _counters(expected: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key: value for key, value in expected.items() if key.endswith(_COUNTER)}


def _strip_prefix(state: dict[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    if not expected or any(key in expected for key in state):
        return state
    first = next(iter(expected))
    prefix = next((key.removesuffix(first) for key in state if key.endswith("." + first)), None)
    if prefix is None:
        return state
    # Lightning keeps losses and metrics beside the network: only what is under the prefix is the network.
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def check(name: str, state: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> None:
    """Raise ValueError, naming the first, for an entry that lacks, has another shape, is not finite or not expected.

    `OtherNames` where one lacks or is not expected.
    """
    foreign = next((key for key in state if key not in expected), None)
    for key, wanted in expected.items():
        if key not in state and key.endswith(_COUNTER):
            continue  # only training with momentum=None reads it
        if key not in state:
            instead = f", but {foreign!r}" if foreign is not None else ""
            raise OtherNames(f"{name}: does not fit the network: no {key!r} (shape {tuple(wanted.shape)}){instead}")
        found = tuple(state[key].shape)
        if found != tuple(wanted.shape):
            raise ValueError(
                f"{name}: does not fit the network: {key!r} has shape {found}, the network needs {tuple(wanted.shape)}"
            )
        if not bool(torch.isfinite(state[key]).all()):
            raise ValueError(f"{name}: {key!r} has values that are not finite")
    if foreign is not None:
        raise OtherNames(f"{name}: does not fit the network: it has {foreign!r}, which the network does not have")
