"""Decoded images that lie on disk in parts: what training reads as if it were one array.

Shapes: N images, H = W the input size.
"""

from typing import Protocol

import numpy as np


class Parts(Protocol):
    """Where the parts of a set of images are. All have `rows` images, but for the last."""

    @property
    def rows(self) -> int: ...

    @property
    def side(self) -> int: ...

    def open(self, number: int) -> np.ndarray:
        """A part (n, side, side) uint8, not to be written to, mapped into memory rather than read."""


class Pixels:
    """Images (N, H, W) uint8. As of an ndarray, a slice is a view, and what an array of positions chooses is a copy.

    A part is opened when something of it is first asked for. A process that is sent this object opens its own.
    """

    def __init__(self, parts: Parts, places: range | np.ndarray, opened: dict[int, np.ndarray] | None = None):
        self._parts = parts
        self._places = places  # of these images among those of all parts
        self._opened = {} if opened is None else opened

    def __reduce__(self) -> tuple[type["Pixels"], tuple[Parts, range | np.ndarray]]:
        return Pixels, (self._parts, self._places)  # a part that is open would be sent as its content

    def __len__(self) -> int:
        return len(self._places)

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self), self._parts.side, self._parts.side

    def __getitem__(self, chosen: slice | np.ndarray) -> "Pixels | np.ndarray":
        """Images at the positions of a slice, or of an array of positions (not counted from the end)."""
        if isinstance(chosen, slice):
            return Pixels(self._parts, self._places[chosen], self._opened)
        return self._read(self._at(chosen))

    def view(self, positions_B: np.ndarray) -> "Pixels":
        """The images at these positions, left where they are."""
        return Pixels(self._parts, self._at(positions_B), self._opened)

    def _at(self, positions_B: np.ndarray) -> np.ndarray:
        places = self._places
        return places.start + places.step * positions_B if isinstance(places, range) else places[positions_B]

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return self._read(np.array(self._places, np.int64)).astype(dtype or np.uint8, copy=False)

    def _read(self, places_B: np.ndarray) -> np.ndarray:
        found_BHW = np.empty((len(places_B), *self.shape[1:]), np.uint8)
        for position, place in enumerate(places_B.tolist()):
            number, row = divmod(place, self._parts.rows)
            if number not in self._opened:
                self._opened[number] = self._parts.open(number)
            found_BHW[position] = self._opened[number][row]
        return found_BHW
