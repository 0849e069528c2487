"""Work of a GPU that Python asks for once and replays for every image.

Of small films a GPU computes faster than Python launches its kernels. As a CUDA graph an image's launches are one: the
same kernels in the same order, so the same maps, and still no image in another's pass (docs/performance.md has what
several images a pass would add).

Array legend: C channels, H height, W width of the input; h, w those of a map.
"""

import contextlib
import functools
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch

_MOST = 32  # recordings of a network: of several outputs each combination that occurs is one
_pool = functools.cache(lambda _device: torch.cuda.graph_pool_handle())  # all recordings of a GPU work in it, in turn


@dataclass
class Row:
    """What is found of one target of one image; maps (h, w), the rest scalars."""

    logit: torch.Tensor
    maps: dict[str, torch.Tensor]
    deltas: dict[str, torch.Tensor] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)

    def copied(self) -> "Row":
        return Row(
            self.logit.clone(),
            {name: map_hw.clone() for name, map_hw in self.maps.items()},
            {name: delta.clone() for name, delta in self.deltas.items()},
            self.steps,
        )


Explain = Callable[[torch.Tensor, Sequence[int]], list[Row]]


class Recorder:
    """A function of an input (1, C, H, W) and its targets, replayed from its second call with the same targets on.

    The first call computes what later ones keep. Before the second the work is recorded, where that can be: not where
    Python waits for a number of the GPU's, as for a network that looks at its own. The function is always the same one
    and given to each call: kept here, a method of whoever keeps the recorder would hold a network and its graphs in a
    circle, for as long as no garbage is collected.
    """

    def __init__(self) -> None:
        self._recordings: dict[tuple[int, ...], _Recording | None] = {}
        self._can_record = True

    def __call__(self, explain: Explain, inputs_1CHW: torch.Tensor, targets: Sequence[int]) -> list[Row]:
        key = tuple(targets)
        if not self._can_record or (key not in self._recordings and len(self._recordings) >= _MOST):
            return explain(inputs_1CHW, targets)
        if key not in self._recordings:
            self._recordings[key] = None
            return explain(inputs_1CHW, targets)
        with torch.cuda.device(inputs_1CHW.device):  # what another GPU does is in no recording of the current one's
            recording = self._recordings[key] or self._recorded(explain, inputs_1CHW, key)
            return recording.replay(inputs_1CHW) if recording else explain(inputs_1CHW, targets)

    @property
    def recordings(self) -> int:
        """How many there are."""
        return sum(recording is not None for recording in self._recordings.values())

    def _recorded(self, explain: Explain, inputs_1CHW: torch.Tensor, key: tuple[int, ...]) -> "_Recording | None":
        try:
            self._recordings[key] = _Recording(explain, inputs_1CHW, key)
        except RuntimeError:
            self._can_record = False
        return self._recordings[key]


class _Recording:
    def __init__(self, explain: Explain, inputs_1CHW: torch.Tensor, targets: tuple[int, ...]) -> None:
        self._inputs_1CHW = inputs_1CHW.clone()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side), _without_waiting():
            explain(self._inputs_1CHW, targets)  # libraries set themselves up for a stream, which cannot be recorded
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        pool = _pool(torch.cuda.current_device())
        with torch.cuda.graph(self._graph, pool=pool, stream=side, capture_error_mode="thread_local"):
            self._rows = explain(self._inputs_1CHW, targets)

    def replay(self, inputs_1CHW: torch.Tensor) -> list[Row]:
        self._inputs_1CHW.copy_(inputs_1CHW)
        self._graph.replay()
        return [row.copied() for row in self._rows]


@contextlib.contextmanager
def _without_waiting() -> Iterator[None]:
    """Raise RuntimeError where Python waits for a number of the GPU's.

    Recording fails there too, but leaves the generator of random numbers unfit for anything else.
    """
    before = torch.cuda.get_sync_debug_mode()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Synchronization debug mode", category=UserWarning)
            torch.cuda.set_sync_debug_mode("error")
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)
