"""Saliency maps of a network, on images in memory.

Images are a tensor (N, C, S, S) as the network gets them, square as those of a run. `normalise` says what pixels in
[0, 1] were normalised with: (mean, std), each one number or one per channel, or "imagenet" or "torchxrayvision". A
baseline such as "black" is a film, so this has to be known; the default, (0, 1), is for images that lie in 0 to 1
themselves. The network answers with logits (N, K); `target` is the index of the logit to explain, or (N,) indices.

Every image goes alone through a copy of the network in eval mode, so a map does not depend on the other images.

>>> import torch
>>> from pneumo_batch import attribution
>>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 1, bias=False))
>>> weights = network[1].weight.data.copy_(torch.tensor([[1.0, -2.0, 3.0, 0.0]]))
>>> images = torch.tensor([[[[1.0, 1.0], [0.5, 1.0]]]])
>>> attribution.integrated_gradients(network, images).numpy().round(3)  # of a linear network: weights times pixels
array([[[ 1. , -2. ],
        [ 1.5,  0. ]]], dtype=float32)
"""

from typing import Literal

import torch
from torch import nn

from pneumo_batch.core.attribution import explainer, in_memory
from pneumo_batch.core.attribution.explainer import Explanation
from pneumo_batch.core.attribution.in_memory import UNIT, Methods, Normalise, Target

__all__ = ["METHODS", "Explanation", "attribute", "explain", "grad_cam", "integrated_gradients"]

METHODS: tuple[str, ...] = explainer.METHODS
"""Names of the methods, as in a job's `attribution.methods`; "module:function" is one too."""


def attribute(
    model: nn.Module,
    images: torch.Tensor,
    methods: Methods = explainer.OWN,
    target: Target = 0,
    normalise: Normalise = UNIT,
) -> dict[str, torch.Tensor]:
    """Maps of N images by method: (N, h, w) float32 each, signed, on the model's device.

    Integrated Gradients and most other methods give maps of the images' size, channels summed; Grad-CAM gives
    maps of its layer's size, before the ReLU. `methods` are names of `METHODS`, "module:function", or functions called
    as (model, inputs_1CHW, targets_1) that return a map; a mapping gives each its options.

    Raises ValueError for unknown names, and for images, networks and methods that do not fit together.

    >>> network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 1))
    >>> maps = attribute(network, torch.rand(5, 1, 8, 8), {"integrated_gradients": {"steps": 8}, "grad_cam": {}})
    >>> {method: tuple(maps_Nhw.shape) for method, maps_Nhw in maps.items()}
    {'integrated_gradients': (5, 8, 8), 'grad_cam': (5, 6, 6)}
    """
    found = in_memory.explain(model, images, methods, target, normalise)
    return {name: found.maps[name] for name in in_memory.named(methods)[1]}


def integrated_gradients(
    model: nn.Module,
    images: torch.Tensor,
    target: Target = 0,
    normalise: Normalise = UNIT,
    steps: int | Literal["auto"] = 50,
    baseline: str = "black",
) -> torch.Tensor:
    """Integrated Gradients (Sundararajan et al. 2017): (N, S, S), midpoint rule, channels summed.

    `baseline` is black, mean, white, blur or noise; steps = "auto" takes as many points as an image needs.

    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(4, 1))
    >>> images = torch.rand(2, 1, 2, 2)
    >>> rise_N1 = network(images) - network(torch.zeros(1, 1, 2, 2))  # what a map adds up to
    >>> torch.allclose(integrated_gradients(network, images).sum((1, 2)), rise_N1[:, 0], atol=1e-5)
    True
    """
    options = {"steps": steps, "baseline": baseline}
    return attribute(model, images, {"integrated_gradients": options}, target, normalise)["integrated_gradients"]


def grad_cam(model: nn.Module, images: torch.Tensor, target: Target = 0, layer: str = "auto") -> torch.Tensor:
    """Grad-CAM (Selvaraju et al. 2017) before its ReLU: (N, h, w) of the layer, sum_c mean(dy / dA_c) A_c.

    `layer` is a module's path; "auto" chooses by the architecture, and else takes the last convolution.

    >>> network = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.Flatten(), nn.Linear(4, 1, bias=False))
    >>> for layer in (network[0], network[2]):
    ...     _ = nn.init.ones_(layer.weight)
    >>> grad_cam(network, torch.eye(2)[None, None]).tolist()
    [[[1.0, 0.0], [0.0, 1.0]]]
    """
    return explain(model, images, {"grad_cam": {"layer": layer}}, target, None).maps["grad_cam"]


def explain(
    model: nn.Module,
    images: torch.Tensor,
    methods: Methods = explainer.OWN,
    target: Target = 0,
    normalise: Normalise | None = UNIT,
) -> Explanation:
    """As `attribute`, together with the explained logits (N,), completeness errors and the points paths took.

    Without a `normalise` images may have any values; there is no black film then, and baselines mean nothing.

    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(4, 1))
    >>> found = explain(network, torch.rand(3, 1, 2, 2), ["integrated_gradients"])
    >>> found.logits_B.shape, bool(found.deltas["integrated_gradients"].abs().max() < 1e-5)
    (torch.Size([3]), True)
    """
    return in_memory.explain(model, images, methods, target, normalise)
