"""Networks by name, and the layer of each that Grad-CAM looks at.

Every network takes (B, channels, image_size, image_size) and returns logits (B, outputs): one output (the positive
class) for two classes, else one per class, or per finding where there are several. Array legend: B batch, C channels, H
height, W width.
"""

import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from pneumo_batch.core.models import programs
from pneumo_batch.core.user_code import user_callable
from pneumo_batch.errors import did_you_mean

XRV_NETWORK = "torchxrayvision:densenet121"
CNN5_LAYER = "conv5.1"  # after the last convolution and its ReLU, before pooling: 14 x 14 at 224 px
_LISTED = 10  # layers in a message


def _block(inputs: int, outputs: int, dropout: float | None) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, kernel_size=3, padding=1), nn.ReLU()]
    if dropout is not None:
        layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers, nn.BatchNorm2d(outputs), nn.MaxPool2d(2))


class CNN5(nn.Module):
    """The five-block network of the notebooks; attribute names and indices are those of its saved state dicts."""

    def __init__(self, *, image_size: int, channels: int, outputs: int) -> None:
        super().__init__()
        if image_size < 32 or image_size % 32:
            raise ValueError(f"cnn5 needs an image_size that is a multiple of 32, not {image_size}")
        self.conv1 = _block(channels, 32, None)
        self.conv2 = _block(32, 64, 0.1)
        self.conv3 = _block(64, 64, None)
        self.conv4 = _block(64, 128, 0.2)
        self.conv5 = _block(128, 256, 0.2)
        features = 256 * (image_size // 32) ** 2
        self.fc = nn.Sequential(nn.Linear(features, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, outputs))

    def forward(self, inputs_BCHW: torch.Tensor) -> torch.Tensor:
        """Logits (B, outputs)."""
        maps = self.conv5(self.conv4(self.conv3(self.conv2(self.conv1(inputs_BCHW)))))
        return self.fc(maps.flatten(1))


def build(name: str, *, image_size: int, channels: int, outputs: int) -> nn.Module:
    """A network with random weights, from torch's current random state; nothing is downloaded.

    `name` is `cnn5`, `resnet18` (with the notebooks' two-layer head), the name of any torchvision classification
    network, `torchxrayvision:densenet121`, a TorchScript or torch.export file (*.pt, *.pt2; with its own weights), or
    `module:callable`, called as `callable(image_size=, channels=, outputs=)`. In-place activations are made
    out-of-place, because attribution reads what they would overwrite. Raises ValueError for unknown names and for
    networks that cannot take such an image.
    """
    if programs.is_file(name):
        return program(name, programs.read(name), image_size=image_size, channels=channels, outputs=outputs)
    if name == "cnn5":
        model: nn.Module = CNN5(image_size=image_size, channels=channels, outputs=outputs)
    elif name == XRV_NETWORK:
        model = _torchxrayvision(channels=channels, outputs=outputs)
    elif ":" in name:
        model = user_callable(name)(image_size=image_size, channels=channels, outputs=outputs)
        if not isinstance(model, nn.Module):
            raise ValueError(f"network {name!r} returned {type(model).__name__}, not a torch.nn.Module")
    else:
        model = torchvision_network(name, image_size=image_size, channels=channels, outputs=outputs)
    without_inplace(model)
    _check_output(name, model, (1, channels, image_size, image_size), outputs)
    return model


def program(name: str, data: bytes, *, image_size: int, channels: int, outputs: int) -> nn.Module:
    """The network a TorchScript or torch.export file holds, with its weights. Raises ValueError if it does not fit."""
    model, shape = programs.load(name, data), (1, channels, image_size, image_size)
    programs.check_shape(name, model, shape)
    _check_output(name, model, shape, outputs)
    programs.check_batches(name, model, shape)
    return model


def outputs_for(classes: Sequence[str], findings: Sequence[str] = ()) -> int:
    """Outputs of a classifier: a logit for each of several findings, or the classes'.

    Of two classes there is the one logit of the second, of more a logit for each.
    """
    return len(findings) or (1 if len(classes) == 2 else len(classes))


def known_networks() -> list[str]:
    """Every name `build` takes, but for `module:callable`."""
    import torchvision

    return ["cnn5", XRV_NETWORK, *torchvision.models.list_models(module=torchvision.models)]


def without_inplace(model: nn.Module) -> nn.Module:
    """Make every activation module out-of-place; returns the same module. The code of programs stays as it is."""
    for module in [] if programs.kind(model) else model.modules():
        if getattr(module, "inplace", False) is True:
            module.inplace = False  # type: ignore[assignment]
    return model


def grad_cam_layer(model: nn.Module, name: str = "auto") -> str:
    """The dotted path of the layer Grad-CAM looks at; `auto` follows the architecture.

    The last maps before the head where the network is known: `cnn5` conv5.1, ResNet and ConvNeXt their last block,
    DenseNet its last norm (its last convolution gives 32 of 1024 channels), GoogLeNet, Inception v3 and RegNet what
    their pooling takes (the last convolution is one branch of it), Swin its permute (channels first again);
    for a vision transformer the input of the last attention (behind it only the class token reaches the logit); else
    the last Conv2d in module order. Raises ValueError, with close matches, for a path the network does not have.
    """
    modules = dict(model.named_modules())
    modules.pop("", None)
    if name == "auto":
        return _known_layer(model) or _last_convolution(modules)
    if name not in modules:
        raise ValueError(f"the network has no layer {name!r}{_suggest(name, list(modules))}")
    _refuse_channels_last(model, name, modules[name])
    return name


def _known_layer(model: Any) -> str | None:
    if isinstance(model, CNN5):
        return CNN5_LAYER
    if _is_torchvision(model, "ResNet"):
        return f"layer4.{len(model.layer4) - 1}"
    if _is_torchvision(model, "DenseNet") or type(model).__module__.startswith("torchxrayvision."):
        return "features.norm5"
    if _is_torchvision(model, "ConvNeXt"):
        return f"features.{len(model.features) - 1}.{len(model.features[-1]) - 1}"
    for kind, layer in (("GoogLeNet", "inception5b"), ("Inception3", "Mixed_7c"), ("RegNet", "trunk_output")):
        if _is_torchvision(model, kind):
            return layer
    if _is_torchvision(model, "SwinTransformer"):
        return "permute"
    if _is_torchvision(model, "VisionTransformer"):
        return f"encoder.layers.encoder_layer_{len(model.encoder.layers) - 1}.ln_1"
    return None


def _is_torchvision(model: nn.Module, kind: str) -> bool:
    """Whether a network is one of torchvision's, by the name of its class. Importing torchvision takes a second, which
    every worker would wait for; who has such a network has imported it.
    """
    models = sys.modules.get("torchvision.models")
    return models is not None and isinstance(model, getattr(models, kind))


def _last_convolution(modules: dict[str, nn.Module]) -> str:
    convolutions = [path for path, module in modules.items() if isinstance(module, nn.Conv2d)]
    if not convolutions:
        named = [path for path, module in modules.items() if programs.convolves(module)] or list(modules)
        there = f" (the last there are: {', '.join(named[-_LISTED:])})" if named else ""
        raise ValueError(
            f"Grad-CAM finds no Conv2d in the network: name a layer in grad_cam.layer{there}, or drop grad_cam"
        )
    return convolutions[-1]


def _refuse_channels_last(model: nn.Module, name: str, layer: nn.Module) -> None:
    """Maps (B, h, w, C) look like (B, C, h, w) to Grad-CAM, which would average over the wrong axes."""
    in_swin = _is_torchvision(model, "SwinTransformer") and name != "permute" and not isinstance(layer, nn.Conv2d)
    if in_swin and name.partition(".")[0] in ("features", "norm"):
        raise ValueError(f"Grad-CAM layer {name!r} gives maps with the channels last: take permute, or auto")


def _suggest(name: str, known: Sequence[str]) -> str:
    return did_you_mean(name, known, most=5) or f"; it has {', '.join(known)}"


def torchvision_network(name: str, *, image_size: int, channels: int, outputs: int) -> nn.Module:
    import torchvision

    known = known_networks()
    if name not in known:
        hint = did_you_mean(name, known)
        raise ValueError(f"unknown network {name!r}{hint}: choose module:callable or one of {', '.join(known)}")
    extra: dict[str, object] = {}
    if name in ("googlenet", "inception_v3"):
        extra = {"aux_logits": False, "init_weights": True}  # an auxiliary head would make forward return a tuple
    elif name.startswith("vit_"):
        extra = {"image_size": image_size}
    model = torchvision.models.get_model(name, weights=None, num_classes=outputs, **extra)
    if name == "resnet18":
        model.fc = nn.Sequential(nn.Linear(512, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, outputs))
    if channels != 3:
        _replace_first_convolution(model, channels)
    return model


def _torchxrayvision(*, channels: int, outputs: int) -> nn.Module:
    """DenseNet-121 as torchxrayvision builds it: the names of its modules are those of its published weights."""
    try:
        import torchxrayvision
    except ImportError as error:
        raise ValueError(f"network {XRV_NETWORK!r} needs torchxrayvision: pip install 'pneumo-batch[xrv]'") from error
    return torchxrayvision.models.DenseNet(weights=None, num_classes=outputs, in_channels=channels)


def _replace_first_convolution(model: nn.Module, channels: int) -> None:
    path, old = next((path, module) for path, module in model.named_modules() if isinstance(module, nn.Conv2d))
    new = nn.Conv2d(
        channels,
        old.out_channels,
        old.kernel_size,  # type: ignore[arg-type]
        stride=old.stride,  # type: ignore[arg-type]
        padding=old.padding,  # type: ignore[arg-type]
        bias=old.bias is not None,
    )
    model.set_submodule(path, new)


def _check_output(name: str, model: nn.Module, shape: tuple[int, ...], outputs: int) -> None:
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            logits = model(torch.zeros(shape))
    except RuntimeError as error:
        raise ValueError(f"network {name!r} cannot take an image of shape {shape[1:]}: {_first_line(error)}") from error
    finally:
        model.train(training)
    if not isinstance(logits, torch.Tensor) or logits.shape != (1, outputs):
        found = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise ValueError(f"network {name!r} must return logits of shape (B, {outputs}), not {found} for one image")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
