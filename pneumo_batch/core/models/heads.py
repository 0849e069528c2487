"""A trained network with some of its outputs: of 18 findings that it was trained for those that a job asks for."""

from collections.abc import Callable, Sequence

import torch
from torch import nn

from pneumo_batch.core.models import programs

_SAME = 1e-5  # relative, of logits: rows of one product


def places(outputs: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Where in `outputs` the wanted names are. Raises ValueError for one that is not there."""
    for name in wanted:
        if name not in outputs:
            raise ValueError(
                f"outputs has no {name!r}, which the job asks for; it names {', '.join(filter(None, outputs))}"
            )
    return [list(outputs).index(name) for name in wanted]


def picked(
    model: nn.Module, build: Callable[..., nn.Module], rows: Sequence[int], example_1CHW: torch.Tensor
) -> nn.Module:
    """The network that gives outputs `rows` of `model`: the same weights, but for those rows of its head.

    `build(outputs=)` makes the network with any number of outputs. The head are the entries whose shape follows that
    number. Raises ValueError where such rows do not give the same logits, and for programs, whose head is code.
    """
    if programs.kind(model):
        raise ValueError("outputs of a program cannot be picked: export it with only the wanted ones")
    noise_1CHW = torch.randn(example_1CHW.shape, generator=torch.Generator().manual_seed(3))
    logits_1K = _answer(model, noise_1CHW)
    wider, found = build(outputs=logits_1K.shape[1] + 1).state_dict(), build(outputs=len(rows))
    state = model.state_dict()
    head = {key for key, value in state.items() if wider[key].shape != value.shape}
    found.load_state_dict({key: value[list(rows)] if key in head else value for key, value in state.items()})
    if not torch.allclose(_answer(found, noise_1CHW), logits_1K[:, list(rows)], rtol=_SAME, atol=_SAME):
        raise ValueError("outputs cannot be picked: the rows of its head give other logits than the whole network")
    return found


@torch.no_grad()
def _answer(model: nn.Module, inputs_1CHW: torch.Tensor) -> torch.Tensor:
    training = model.training
    try:
        return model.eval()(inputs_1CHW)
    finally:
        model.train(training)
