"""Methods of a user's own, as job files name them: importable by Ray's workers too."""

import torch


def gradient(model, inputs, targets, factor=1):
    """The gradient at the input, times a factor."""
    return factor * torch.autograd.grad(model(inputs)[0, targets[0]], inputs)[0]
