"""Networks nobody has trained, in which every layer does something."""

import torch
from torch import nn

from pneumo_batch.core.models import networks


def network(name, dtype=torch.float64, channels=1, outputs=1, size=64):
    """A random network whose batch norms, half of them negative, do something."""
    torch.manual_seed(0)
    model = networks.build(name, image_size=size, channels=channels, outputs=outputs)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias, std=0.2)
    return model.to(dtype).eval()
