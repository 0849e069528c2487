"""What the test in memory is given, looked at before maps are computed: a ValueError is one line that names it.

Shapes: N images, C channels, S pixels a side.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from torch import nn

from pneumo_batch.core.models import checkpoints

Models = Sequence[nn.Module] | Mapping[str, nn.Module]


def by_place(models: Models, argument: str) -> dict[str, nn.Module]:
    """Networks by what stands for them in a message: true[0], or true['mine'] of a mapping."""
    if isinstance(models, nn.Sequential) or not hasattr(models, "__len__"):  # layers are no networks
        raise ValueError(f"{argument}: a list of networks is needed, not {type(models).__name__}")
    pairs = models.items() if isinstance(models, Mapping) else enumerate(models)
    found = {f"{argument}[{name!r}]": model for name, model in pairs}
    for place, model in found.items():
        if not isinstance(model, nn.Module):
            raise ValueError(f"{place}: a torch.nn.Module is needed, not {type(model).__name__}")
    return found


def check_copies(true: Mapping[str, nn.Module], random: Mapping[str, nn.Module]) -> None:
    """Two copies of one network agree on every map, so any method would look reproducible."""
    found = checkpoints.first_copy({place: checkpoints.digest(model) for place, model in {**true, **random}.items()})
    if found is None:
        return
    place, other = found
    if (other in true) == (place in true):
        reason = "several models of a kind must differ by their seed"
    else:
        reason = "a random model is one that was trained on permuted labels"
    raise ValueError(f"{place} has the weights of {other}: {reason}")


def labels_of(labels: Sequence[int], outputs: int) -> np.ndarray:
    """(N,) int64; of a single logit there are two classes."""
    classes = max(2, outputs)
    needed = f"labels: one whole number from 0 to {classes - 1} for each image is needed"
    try:
        values_N = np.asarray(labels, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{needed}: {error}") from error
    if values_N.ndim != 1:
        raise ValueError(f"{needed}, not {values_N.shape}")
    if wrong := [value for value in values_N if value not in range(classes)]:
        raise ValueError(f"{needed}, not {wrong[0]:g}")
    return values_N.astype(np.int64)


def check_memorised(memorised: Sequence[float], random: Mapping[str, nn.Module]) -> None:
    if len(memorised) != len(random):
        raise ValueError(f"memorised: {len(memorised)} given for {len(random)} random networks")
    for value, place in zip(memorised, random, strict=True):
        if not isinstance(value, int | float | np.number) or not 0 <= value <= 1:
            raise ValueError(f"memorised: {value!r} for {place} is no accuracy from 0 to 1")
