"""Parameter randomization (Adebayo et al., NeurIPS 2018): a trained network whose layers forget what they learned.

A layer is a module that owns weights, together with the normalisation that runs right behind it: Adebayo's published
code re-initialises a convolution and its batch norm in one step too. Layers are counted from the output down, in the
order in which the network runs them, which need not be the order in which it registers them.

Weights come from the network's own initialiser: a second network is built from a seed, and layers are copied from it.
So all layers together give exactly the network as training would start it, running statistics included, and whatever
initialises a network, be it reset_parameters, torchvision's own scheme or a bare parameter, is honoured. One seed is
one such network: in a cascade, depth k + 1 keeps the weights that depth k has drawn.

Array legend: B images, C channels, H height, W width, K outputs.
"""

import copy
import hashlib
import math
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from pneumo_batch.core.attribution.methods import seeded

CASCADE, INDEPENDENT = "cascade", "independent"
_NORMS = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.InstanceNorm2d,
    nn.GroupNorm,
    nn.LayerNorm,
)

State = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Layer:
    """What is re-initialised at once: its path in the network, and its entries of the state dict."""

    name: str
    keys: tuple[str, ...]


Weights = tuple[tuple[Layer, ...], int | None]  # what tells the weights of a derived network: layers, and their seed


@dataclass(frozen=True)
class Derived:
    """A network derived from a trained one without training.

    `layers` are those re-initialised, from the output down: the top `depth` of a "cascade" (none at depth 0, which is
    the original itself), or the `depth`-th from the top alone if "independent".
    """

    mode: str
    depth: int
    seed: int
    layers: tuple[Layer, ...]

    @property
    def name(self) -> str:
        """Of its columns in the table of derived maps."""
        return f"{self.mode}_{self.depth}_{self.seed}"

    @property
    def weights(self) -> Weights:
        """Equal for networks with equal weights: every seed's depth 0, and depth 1 of either mode."""
        return self.layers, self.seed if self.layers else None

    @property
    def layer(self) -> str:
        """The deepest layer re-initialised; empty at depth 0."""
        return self.layers[-1].name if self.layers else ""


def layers(model: nn.Module, example_1CHW: torch.Tensor) -> list[Layer]:
    """The layers of `model`, from the output down, as it runs on the example input.

    A module that runs more than once counts where it runs last, a norm that runs before any weights as a layer of its
    own. Weights of a module that never runs itself (a class token, a projection read by its parent) belong to the
    nearest parent that does.
    """
    order = _order(model, example_1CHW)
    keys: dict[str, list[str]] = {path: [] for path in order}
    for key in model.state_dict():
        keys[_owner(key, keys)].append(key)
    found: list[Layer] = []
    for path in order:
        if not keys[path]:
            continue
        if found and isinstance(model.get_submodule(path), _NORMS):
            found[-1] = Layer(found[-1].name, (*found[-1].keys, *keys[path]))
        else:
            found.append(Layer(path or type(model).__name__, tuple(keys[path])))
    return found[::-1]


def _order(model: nn.Module, example_1CHW: torch.Tensor) -> list[str]:
    """Paths of all modules that run, in the order in which they were last entered."""
    entered: list[str] = []

    def note(path: str) -> Callable[..., None]:
        return lambda *_: entered.append(path)

    training = model.training
    handles = [module.register_forward_pre_hook(note(path)) for path, module in model.named_modules()]
    try:
        with torch.no_grad():
            model.eval()(example_1CHW)
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    return list(dict.fromkeys(reversed(entered)))[::-1]


def _owner(key: str, running: Container[str]) -> str:
    path = key.rpartition(".")[0]
    while path not in running:
        path = path.rpartition(".")[0]
    return path


# ---------------------------------------------------------------------------------------------------- derived networks


def plan(found: Sequence[Layer], seeds: Sequence[int], independent: bool) -> list[Derived]:
    """Every network to derive: of each seed the cascade from depth 0 to all layers, then each layer alone if wanted."""
    derived = []
    for seed in seeds:
        derived += [Derived(CASCADE, depth, seed, tuple(found[:depth])) for depth in range(len(found) + 1)]
        if independent:
            derived += [Derived(INDEPENDENT, depth, seed, (layer,)) for depth, layer in enumerate(found, start=1)]
    return derived


def initial_state(build: Callable[[], nn.Module], seed: int) -> State:
    """Weights and buffers of an untrained network, the same for the same seed; torch's and numpy's state stay as is.

    Raises ValueError where the weights do not come from the seed: a network that starts from pretrained ones would
    put those in the place of the learned.
    """
    state, other = _built(build, seed), _built(build, seed + 1)
    for key, tensor in state.items():
        if isinstance(tensor, nn.Parameter) and torch.equal(tensor, other[key]) and not _is_constant(tensor):
            raise ValueError(
                f"the network gives {key!r} the same values whatever the seed (pretrained?), so it cannot be "
                f"re-initialised: bring the trained weights as a [[variant]] of a network that starts at random"
            )
    return {key: tensor.detach().clone() for key, tensor in state.items()}


def draw_seed(seed: int) -> int:
    """What the generators are given for a seed of the job: another number than any seed a network was trained with.

    From its training seed a network would get back the very weights it started from, which it still resembles.
    """
    return int.from_bytes(hashlib.sha256(f"cascade:{seed}".encode()).digest()[:4], "big")


def _built(build: Callable[[], nn.Module], seed: int) -> State:
    with seeded(draw_seed(seed), torch.device("cpu")):
        return build().state_dict(keep_vars=True)


def _is_constant(tensor: torch.Tensor) -> bool:
    """A bias of 0 or a scale of 1 is the same every time, and rightly so."""
    return bool((tensor == tensor.reshape(-1)[0]).all())


def derive(model: nn.Module, derived: Derived, initial: State) -> nn.Module:
    """A copy of `model`, in eval mode, whose `derived.layers` are those of `initial`; all else is bit-identical."""
    copied = copy.deepcopy(model)
    keys = [key for layer in derived.layers for key in layer.keys]
    unknown = copied.load_state_dict({key: initial[key] for key in keys}, strict=False).unexpected_keys
    assert not unknown, unknown
    return copied.eval()


def output_entropy(logits_BK: torch.Tensor) -> torch.Tensor:
    """Entropy (B,) in bits of the predicted distribution: how undecided the network is; NaN if not finite.

    K = 1 is the logit of the second of two classes, else a softmax over K; the most it can be is 1, or log2(K).
    """
    if logits_BK.shape[1] == 1:
        nats_B = torch.distributions.Bernoulli(logits=logits_BK[:, 0], validate_args=False).entropy()
    else:
        nats_B = torch.distributions.Categorical(logits=logits_BK, validate_args=False).entropy()
    return nats_B / math.log(2)
