"""The maps of films that show a finding, held against where they show it; maps come one by one, none is kept.

Shapes: N films, M measures, S x S pixels of a network's input, h x w of a layer.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from pneumo_batch.core.attribution import localisation
from pneumo_batch.core.similarity import metrics
from pneumo_batch.core.similarity.kernels import defined_mean
from pneumo_batch.core.statistics.localisation import Key
from pneumo_batch.core.statistics.pointing import CROSS_IMAGE, MEASURES


class Films:
    """Films that show a finding: their ids and patients, and where, eight pixels a byte.

    Those of whose regions nothing is left at the network's resolution are not among them.
    """

    def __init__(self, image_ids: Iterable[str], patient_ids: Iterable[str], masks: Iterable[np.ndarray]):
        self.image_ids: list[str] = []
        self.patient_ids: list[str] = []
        self._packed: list[np.ndarray] = []
        self._inside: list[float] = []
        self._side = 0
        for image_id, patient_id, mask_SS in zip(image_ids, patient_ids, masks, strict=True):
            if mask_SS.any():
                self.image_ids.append(image_id)
                self.patient_ids.append(patient_id)
                self._packed.append(np.packbits(mask_SS))
                self._inside.append(float(mask_SS.mean()))
                self._side = len(mask_SS)

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def inside_N(self) -> np.ndarray:  # noqa: N802 - the shape
        """(N,) shares of pixels inside."""
        return np.array(self._inside)

    def mask(self, place: int) -> np.ndarray:
        """(S, S) bool of one film."""
        bits = np.unpackbits(self._packed[place], count=self._side**2)
        return bits.reshape(self._side, self._side).astype(bool)

    def sum(self, places: Iterable[int]) -> np.ndarray:
        """(S, S) int32: in how many of these films each pixel is inside."""
        total_SS = np.zeros((self._side, self._side), np.int32)
        for place in places:
            total_SS += self.mask(place)
        return total_SS


def mean_masks(films: Films, of: Films) -> Iterator[np.ndarray | None]:
    """For each film the mean (S, S) of the masks `of` other films, none of its own patient; None without any.

    A map that has not seen the film, which beats most methods in Arun et al. (2021).
    """
    total_SS = of.sum(range(len(of)))
    places: dict[str, list[int]] = {}
    for place, patient_id in enumerate(of.patient_ids):
        places.setdefault(patient_id, []).append(place)
    for patient_id in films.patient_ids:
        own = places.get(patient_id, [])
        left = len(of) - len(own)
        yield (total_SS - of.sum(own)) / left if left else None


def measured(films: Films, maps: Iterable[np.ndarray | None]) -> np.ndarray:
    """(N, M) of one map (S, S) each; NaN where there is none."""
    values_NM = np.full((len(films), len(MEASURES)), np.nan)
    for place, map_SS in enumerate(maps):
        if map_SS is not None:
            values_NM[place] = localisation.measure(map_SS, films.mask(place))
    return values_NM


class Pointing:
    """The values of the maps of films, and of the true variants' maps of another film each, its partner."""

    def __init__(self, films: Films, partners: Mapping[str, str], true: Sequence[str], size: int):
        self._films, self._size, self._true = films, size, true
        self._own: dict[Key, np.ndarray] = {}
        self._crossed: dict[Key, np.ndarray] = {}
        self._place = {image_id: place for place, image_id in enumerate(films.image_ids)}
        self._crossed_at: dict[str, list[int]] = {}
        for image_id, place in self._place.items():
            if (partner := partners.get(image_id, image_id)) != image_id:
                self._crossed_at.setdefault(partner, []).append(place)

    @property
    def image_ids(self) -> set[str]:
        """Those whose maps are needed."""
        return {*self._place, *self._crossed_at}

    def add(self, image_id: str, method: str, variant: str, map_hw: np.ndarray) -> None:
        """Hold one map against the regions of its film, and of those that it is a partner of."""
        map_SS = metrics.resize(map_hw[None], self._size)[0]
        if image_id in self._place:
            self._put(self._own, (method, variant), self._place[image_id], map_SS)
        for place in self._crossed_at.get(image_id, []) if variant in self._true else []:
            self._put(self._crossed, (method, variant), place, map_SS)

    def _put(self, into: dict[Key, np.ndarray], key: Key, place: int, map_SS: np.ndarray) -> None:
        values_NM = into.setdefault(key, np.full((len(self._films), len(MEASURES)), np.nan))
        values_NM[place] = localisation.measure(map_SS, self._films.mask(place))

    def values(self) -> dict[Key, np.ndarray]:
        """By method and variant, and of each method the mean over true variants of `cross_image`."""
        by_method: dict[str | None, list[np.ndarray]] = {}
        for (method, _), values_NM in self._crossed.items():
            by_method.setdefault(method, []).append(values_NM)
        crossed = {(method, CROSS_IMAGE): defined_mean(np.stack(found), axis=0) for method, found in by_method.items()}
        return {**self._own, **crossed}
