"""Weights in and out: safetensors, written by us; .safetensors, .pth, .pt and Lightning .ckpt, read from anyone."""

import io
import pathlib
import pickle
import warnings
from collections.abc import Mapping
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from pneumo_batch.core import programs

_WRAPPERS = ("state_dict", "model", "model_state_dict")


def state_bytes(model: nn.Module) -> bytes:
    """The weights and buffers of `model` as safetensors, on the CPU and in torch's default memory layout."""
    # The clone separates tied weights, which safetensors refuses.
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in model.state_dict().items()}
    return safetensors.torch.save(state)


def load_state(model: nn.Module, source: str | pathlib.Path | bytes) -> nn.Module:
    """Load weights into `model`, strictly, and return it.

    `source` is a file or its bytes; its content, not its name, tells the format: safetensors, or what `torch.save`
    wrote of a state dict, alone or under "state_dict" (Lightning) or "model", with a prefix such as "module."
    stripped. Nothing in it is executed, unless `model` is itself a program: then the weights of one are taken too.
    Raises ValueError, in one line, for what cannot be read, does not fit or is not finite.
    """
    name, data = ("checkpoint", source) if isinstance(source, bytes) else (str(source), _read(source))
    state = _strip_prefix(_state(name, data, programs.kind(model) is not None), model.state_dict())
    check(name, state, model.state_dict())
    model.load_state_dict(state, strict=True)
    return model


def read_state(name: str, data: bytes) -> dict[str, torch.Tensor]:
    """The tensors of a file's bytes by name, as they are stored; `name` is for errors. Executes nothing.

    Raises ValueError for what is no state dict.
    """
    return _state(name, data, run_programs=False)


def _state(name: str, data: bytes, run_programs: bool) -> dict[str, torch.Tensor]:
    program = programs.kind_of(data)
    if program is None:
        return _unwrap(name, _decode(name, data))
    if run_programs:
        return dict(programs.load(name, data).state_dict())
    raise ValueError(
        f"{name}: a {program} program, whose code would be run to open it: set network.name to this file if you "
        "trust it, or save its state_dict()"
    )


def _read(path: str | pathlib.Path) -> bytes:
    try:
        return pathlib.Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: cannot read the checkpoint: {error.strerror}") from error


def _decode(name: str, data: bytes) -> Any:
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


def _unwrap(name: str, loaded: Any) -> dict[str, torch.Tensor]:
    inner = [loaded[key] for key in _WRAPPERS if key in loaded] if isinstance(loaded, Mapping) else []
    state = next((value for value in inner if isinstance(value, Mapping)), loaded)
    if not isinstance(state, Mapping) or not state:
        raise ValueError(f"{name}: holds {type(state).__name__}, not a state dict: save model.state_dict()")
    for key, value in state.items():
        if not isinstance(value, torch.Tensor):
            raise ValueError(f"{name}: entry {key!r} is {type(value).__name__}, not a tensor: save model.state_dict()")
    return dict(state)


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
    """Raise ValueError, naming the first, for an entry that lacks, has another shape, is not finite or not expected."""
    for key, wanted in expected.items():
        if key not in state:
            raise ValueError(f"{name}: does not fit the network: no {key!r} (shape {tuple(wanted.shape)})")
        found = tuple(state[key].shape)
        if found != tuple(wanted.shape):
            raise ValueError(
                f"{name}: does not fit the network: {key!r} has shape {found}, the network needs {tuple(wanted.shape)}"
            )
        if not bool(torch.isfinite(state[key]).all()):
            raise ValueError(f"{name}: {key!r} has values that are not finite")
    for key in state:
        if key not in expected:
            raise ValueError(f"{name}: does not fit the network: it has {key!r}, which the network has not")
