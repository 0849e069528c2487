"""Maps averaged over noisy inputs, for sMPRT (Hedström et al., A Fresh Look at Sanity Checks for Saliency Maps, 2024).

A gradient is ragged: two maps that mean the same may differ by noise, and parameter randomization would take that for
forgetting. So both maps are averaged first, over N inputs. As in Quantus, N - 1 of them carry Gaussian noise, whose
standard deviation is a share of the input's own range, and the last is the film itself.

Array legend: B images, N inputs of one image, C channels, H height, W width; h, w those of a map.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pneumo_batch.core.attribution.explainer import Explanation
from pneumo_batch.core.randomization.cascade import Derived

REFERENCE = "reference"  # the draw of the maps that all others are compared with
Explain = Callable[[torch.Tensor, torch.Tensor], Explanation]


@dataclass(frozen=True)
class Smoothing:
    """`inputs` (N) to average over, and the noise's standard deviation as a share of the range of an input."""

    inputs: int
    noise: float

    def maps(
        self, explain: Explain, inputs_BCHW: torch.Tensor, targets_B: torch.Tensor, draws: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """Mean maps (B, h, w) float32 of each method; `draws` names the noise of each image (`draw_of`)."""
        rows: dict[str, list[np.ndarray]] = {}
        for i, draw in enumerate(draws):
            noisy_NCHW = self.noisy(inputs_BCHW[i : i + 1], draw)
            found = explain(noisy_NCHW, targets_B[i : i + 1].expand(self.inputs))
            for method, maps_Nhw in found.maps.items():
                rows.setdefault(method, []).append(maps_Nhw.double().mean(0).float().cpu().numpy())
        return {method: np.stack(maps) for method, maps in rows.items()}

    def noisy(self, inputs_1CHW: torch.Tensor, draw: str) -> torch.Tensor:
        """The inputs (N, C, H, W) of one image, itself the last; the same for the same draw on every device."""
        generator = torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(draw.encode()).digest()[:7], "big"))
        shape = (self.inputs - 1, *inputs_1CHW.shape[1:])
        noise_NCHW = torch.randn(shape, generator=generator, dtype=torch.float64).to(inputs_1CHW)
        deviation = self.noise * (inputs_1CHW.max() - inputs_1CHW.min())
        return torch.cat([inputs_1CHW + deviation * noise_NCHW, inputs_1CHW])


def draw_of(image_id: str, network: Derived | str) -> str:
    """What names the noise of an image under a network; networks with equal weights see the same.

    Others see noise of their own, so that what maps have in common does not come from it. So does the reference, and
    the original network (depth 0) then tells how well a smoothed map agrees with itself.
    """
    if isinstance(network, Derived):
        layers, seed = network.weights
        network = "/".join([str(seed), *(layer.name for layer in layers)])
    return f"{network}:{image_id}"
