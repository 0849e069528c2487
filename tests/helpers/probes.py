"""Networks and methods that show what they were given, and networks that no map can be computed of."""

import torch
from torch import nn
from torch.nn import functional


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


class Noisy(nn.Module):
    """Its dropout never stops."""

    def __init__(self, *, image_size, channels, outputs):
        super().__init__()
        self.body, self.head = nn.Conv2d(channels, 4, 3), nn.Linear(4, outputs)

    def forward(self, inputs_BCHW):
        return self.head(functional.dropout(self.body(inputs_BCHW).relu(), 0.5).mean((2, 3)))


def of_the_batch(*, image_size, channels, outputs):
    """Its batch norm has no running statistics."""
    norm = nn.BatchNorm2d(4, track_running_stats=False)
    return nn.Sequential(nn.Conv2d(channels, 4, 3), norm, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, outputs))


class Probability(nn.Sequential):
    """Ends in a sigmoid."""

    def __init__(self, *, image_size, channels, outputs):
        super().__init__(nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.extend([nn.Linear(16, outputs), nn.Sigmoid()])


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


class Standardise(nn.Module):
    """Divides by the film's own standard deviation, as many networks do: a flat film has no answer."""

    def forward(self, inputs_BCHW):
        mean_B111 = inputs_BCHW.mean((1, 2, 3), keepdim=True)
        return (inputs_BCHW - mean_B111) / inputs_BCHW.std((1, 2, 3), keepdim=True)


def standardising(*, image_size, channels, outputs):
    body = [nn.Conv2d(channels, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten()]
    return nn.Sequential(Standardise(), *body, nn.Linear(64, outputs))


def coarse(*, image_size, channels, outputs):
    """Its last convolution sees 2 x 2 places of a film, half as many a side as that of cnn5 at 64 px."""
    first = nn.Conv2d(channels, 4, 4, stride=4)
    last = nn.Conv2d(4, 8, image_size // 8, stride=image_size // 8)
    return nn.Sequential(first, nn.ReLU(), last, nn.ReLU(), nn.Flatten(), nn.Linear(32, outputs))
