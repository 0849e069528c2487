"""A network and methods that show what they were given."""

import torch
from torch import nn


class Witness(nn.Module):
    """Keeps the last batch it was trained on among its weights."""

    def __init__(self, *, image_size, channels, outputs):
        super().__init__()
        self.head = nn.Linear(channels, outputs)
        self.register_buffer("seen_BCHW", torch.zeros(8, channels, image_size, image_size))

    def forward(self, inputs_BCHW):
        if self.training:
            self.seen_BCHW.copy_(inputs_BCHW.detach())
        return self.head(inputs_BCHW.mean((2, 3)))


def first_channel(_model, inputs_1CHW, _targets_1):
    return inputs_1CHW[:, 0]


def last_channel(_model, inputs_1CHW, _targets_1):
    return inputs_1CHW[:, -1]
