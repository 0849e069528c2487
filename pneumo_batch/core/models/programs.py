"""Networks that are files: TorchScript and torch.export programs, which bring their code with them.

Both run what their author wrote, so nothing here opens one unless the job names one as its network. A torch.export
program keeps its layers, and Grad-CAM sees them. TorchScript runs in an interpreter of its own that calls no hooks:
gradients at the input are exact, what happens at a layer stays hidden.
"""

import copy
import io
import math
import pathlib
import sys
import warnings
import zipfile
from collections.abc import Iterable

import torch
from torch import nn

from pneumo_batch.core.method_names import method_of

SUFFIXES = (".pt", ".pt2")
TORCHSCRIPT, EXPORTED = "TorchScript", "torch.export"
PASS_SIZE = 8  # points a pass where activations cannot be seen
_HOOKS_ON_RELU = ("deep_lift", "guided_backprop", "guided_grad_cam")
_CLOSE = 1e-3  # of logits of one image, alone and in a batch; batch norm and dropout in training mode are far off


def is_file(network: str) -> bool:
    """Whether a network's name is that of a file with a program."""
    return network.endswith(SUFFIXES)


def kind_of(data: bytes) -> str | None:
    """`TORCHSCRIPT`, `EXPORTED` or, for anything else, None; by the table of contents, so nothing is run."""
    try:
        names = zipfile.ZipFile(io.BytesIO(data)).namelist()
    except zipfile.BadZipFile:
        return None
    inner = {name.partition("/")[2] for name in names}
    if "constants.pkl" in inner and any(name.startswith("code/") for name in inner):
        return TORCHSCRIPT
    exported = "archive_format" in inner or "serialized_exported_program.json" in names
    return EXPORTED if exported else None


def kind(model: nn.Module) -> str | None:
    """As `kind_of`, of a network."""
    if isinstance(model, torch.jit.ScriptModule):
        return TORCHSCRIPT
    unflatten = sys.modules.get("torch.export.unflatten")  # half a second to import; such a network has imported it
    return EXPORTED if unflatten is not None and isinstance(model, unflatten.UnflattenedModule) else None


def load(name: str, data: bytes) -> nn.Module:
    """The network in a file's bytes, on the CPU; its code runs whenever the network does.

    Raises ValueError for what is no program or cannot be opened.
    """
    found = kind_of(data)
    if found is None:
        raise ValueError(f"{name}: neither a TorchScript nor a torch.export file, so it is no network")
    try:
        return _scripted(data) if found == TORCHSCRIPT else _unflattened(data)
    except Exception as error:  # a damaged archive makes either loader raise nearly anything
        raise ValueError(f"{name}: cannot open this {found} file: {str(error).splitlines()[0]}") from error


def _scripted(data: bytes) -> nn.Module:
    with warnings.catch_warnings():  # torch advises to write other files, and this one is written
        warnings.filterwarnings("ignore", message="`torch.jit", category=FutureWarning)
        warnings.filterwarnings("ignore", message="`torch.jit", category=DeprecationWarning)
        return torch.jit.load(io.BytesIO(data), map_location="cpu").eval()


def _unflattened(data: bytes) -> nn.Module:
    program = torch.export.load(io.BytesIO(data))
    model = torch.export.unflatten(program)
    # what refuses other shapes goes with the rest of the tracing
    model.traced_shape = _traced_shape(program)  # type: ignore[assignment]
    for module in model.modules():
        for node in getattr(module, "graph", torch.fx.Graph()).nodes:
            node.meta.clear()  # shapes of the tracing, with symbols that cannot be copied
    return model


def _traced_shape(program: torch.export.ExportedProgram) -> tuple[int | None, ...]:
    """Of the first input; None where the size is left open."""
    first = program.graph_signature.user_inputs[0]
    (node,) = (node for node in program.graph.nodes if node.name == first)
    return tuple(size if isinstance(size, int) else None for size in node.meta["val"].shape)


def convolves(layer: nn.Module) -> bool:
    """Whether a layer of a torch.export program, which has no class of its own, is a convolution."""
    graph = getattr(layer, "graph", None)
    nodes = graph.nodes if isinstance(graph, torch.fx.Graph) else ()
    return any(node.op == "call_function" and "conv" in str(node.target) for node in nodes)


def read(path: str) -> bytes:
    """The content of a program's file. Raises ValueError."""
    try:
        return pathlib.Path(path).expanduser().read_bytes()
    except OSError as error:
        raise ValueError(f"network.name = {path!r}: cannot read the file: {error.strerror}") from error


def frozen_copy(model: nn.Module) -> nn.Module:
    """A copy of any network in eval mode whose weights need no gradients."""
    with torch.no_grad():  # TorchScript clones its weights: with a graph the copies would hang on the originals
        frozen = copy.deepcopy(model).eval()
    for parameter in frozen.parameters():
        parameter.requires_grad = False
    return frozen


def shaken_copy(model: nn.Module) -> nn.Module:
    """A frozen copy to try a network's code with: parameters that are all zero, which hide what is before them, are
    noise (the last layer of a block or of the network often begins so).
    """
    shaken, generator = frozen_copy(model), torch.Generator().manual_seed(0)
    for parameter in shaken.parameters():
        if not parameter.any():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return shaken


def check_shape(name: str, model: nn.Module, shape: tuple[int, ...]) -> None:
    """Raise ValueError where a torch.export program is for images of another shape than (1, C, H, W), as torch does.

    Its batch may have any size that `check_batches` finds it to take.
    """
    traced, wanted = getattr(model, "traced_shape", shape)[1:], shape[1:]
    if any(one not in (None, size) for one, size in zip(traced, wanted, strict=False)):
        shown = ", ".join("any" if one is None else str(one) for one in traced)
        raise ValueError(
            f"network {name!r} was exported for images of shape ({shown}), not {wanted}: set data.image_size to its"
            " size, or export it with dynamic_shapes for height and width, too"
        )


def check_batches(name: str, model: nn.Module, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless an image (1, ...) of `shape` has the same logits alone and beside another."""
    pair = torch.linspace(-1, 1, 2 * math.prod(shape)).view(2, *shape[1:])
    try:
        with torch.no_grad():
            alone, together = model(pair[:1])[0], model(pair)[0]
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"network {name!r} takes batches of one size only: export it with a dynamic first dimension, "
            "dynamic_shapes=({0: torch.export.Dim.AUTO},)"
        ) from error
    if not torch.allclose(alone, together, rtol=_CLOSE, atol=_CLOSE, equal_nan=True):
        raise ValueError(f"network {name!r} was saved in training mode: call model.eval(), then save it again")


def check_methods(model: nn.Module, methods: Iterable[str]) -> None:
    """Raise ValueError for a method that would look into layers a program does not show, or change their gradients."""
    found = kind(model)
    if found is None:
        return
    for method in methods:
        name = method_of(method)
        if name in _HOOKS_ON_RELU or (name == "grad_cam" and found == TORCHSCRIPT):
            raise ValueError(
                f"{method} cannot look into the layers of a {found} network: leave it out of attribution.methods, or "
                'save the state dict and give network.name = "module:callable"'
            )
