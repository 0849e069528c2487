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


class OnGpu(nn.Module):
    """Keeps among its weights whether it was trained on a GPU."""

    def __init__(self, *, image_size, channels, outputs):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(channels, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.head = nn.Linear(4, outputs)
        self.register_buffer("on_gpu", torch.zeros(()))

    def forward(self, inputs_BCHW):
        if self.training:
            self.on_gpu.fill_(float(inputs_BCHW.is_cuda))
        return self.head(self.body(inputs_BCHW).flatten(1))


def on_gpu(_model, inputs_1CHW, _targets_1):
    """1 where the map is made on a GPU, else 0, on every second pixel, for a constant map is none."""
    map_1HW = torch.zeros_like(inputs_1CHW[:, 0])
    map_1HW[:, ::2] = float(inputs_1CHW.is_cuda)
    return map_1HW
