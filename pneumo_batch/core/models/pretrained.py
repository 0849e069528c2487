"""Weights a network starts its training from: ImageNet's from torchvision's cache, or a file. No download."""

import re
from pathlib import Path

import torch
from torch import nn

from pneumo_batch.core.models import checkpoints

NONE, IMAGENET = "none", "imagenet"
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")  # heads of googlenet and inception_v3 that only training uses
# What torchvision renamed since it published these files: (old, new).
_RENAMED = (
    (r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)", r"\1\2"),
    (r"(encoder_layer_\d+\.mlp\.)linear_1\.", r"\g<1>0."),
    (r"(encoder_layer_\d+\.mlp\.)linear_2\.", r"\g<1>3."),
)


def place(network: str, weights: str) -> Path | None:
    """The file that the job's `network.weights` means, None for "none". Raises ValueError where there is none."""
    if weights == NONE:
        return None
    if weights != IMAGENET:
        file = Path(weights).expanduser()
        if not file.is_file():
            raise ValueError(f"network.weights: no file {weights}; give a file, {IMAGENET!r} or {NONE!r}")
        return file
    url = _imagenet_url(network)
    cached = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if not cached.is_file():
        raise ValueError(
            f'network.weights = "imagenet": {cached} is not there, and nothing is downloaded here: fetch {url} and put '
            "it there, or give its place in network.weights"
        )
    return cached


def _imagenet_url(network: str) -> str:
    import torchvision

    if network not in torchvision.models.list_models(module=torchvision.models):
        raise ValueError(f'network.weights = "imagenet" needs a torchvision network, not {network!r}: name a file')
    return torchvision.models.get_model_weights(network).DEFAULT.url


def start_from(model: nn.Module, data: bytes, name: str) -> nn.Module:
    """Give `model` the weights of a file's bytes, but for a head of another shape; returns it.

    The head is what holds the last parameters (`fc`, `classifier`, ...): an entry there is taken where it fits and
    stays random where it does not. Where the file's first convolution takes three channels and the network's takes
    one, its weights are summed over them: a gray image gives what it gave as three equal channels. Nothing in the file
    is executed. Raises ValueError, naming the first entry that does not fit.
    """
    state = {renamed(key): value for key, value in checkpoints.read_state(name, data).items()}
    expected = model.state_dict()
    head = _head(list(dict(model.named_parameters())))
    first = next((key for key, value in expected.items() if value.ndim == 4), None)
    if first in state and state[first].ndim == 4 and state[first].shape[1] == 3 and expected[first].shape[1] == 1:
        state[first] = state[first].sum(1, keepdim=True)
    fitting = {key: value for key, value in state.items() if key in expected and value.shape == expected[key].shape}
    outside = {key: value for key, value in expected.items() if not key.startswith(head)}
    checkpoints.check(name, {k: v for k, v in state.items() if not k.startswith((head, *_AUXILIARY))}, outside)
    checkpoints.check(name, fitting, {key: expected[key] for key in fitting})
    model.load_state_dict({**expected, **fitting})
    return model


def renamed(key: str) -> str:
    """Today's name of an entry in one of torchvision's older files."""
    for old, new in _RENAMED:
        key = re.sub(old, new, key)
    return key


def _head(parameters: list[str]) -> str:
    """The shortest prefix of the last parameter that is not that of all: "fc." of a ResNet."""
    parts = parameters[-1].split(".")
    for depth in range(1, len(parts)):
        prefix = ".".join(parts[:depth]) + "."
        if not all(key.startswith(prefix) for key in parameters):
            return prefix
    return parameters[-1]
