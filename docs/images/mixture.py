"""Draws the picture of docs/statistics.md from a run: python docs/images/mixture.py RUN docs/images/mixture.png

The run's own Grad-CAM of every model, mixed with the edges of the film: w of the map and 1 - w of the edges, both of
mean 0 and, over the regions that are compared, of standard deviation 1. The part of such a map that depends on the
labels rises with w, so its label share must rise too.
"""

import io
import sys
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from pneumo_batch import Run
from pneumo_batch.core.similarity import controls, metrics, pairs, per_image
from pneumo_batch.core.similarity.comparison import Comparison, Others
from pneumo_batch.core.similarity.per_image import Cell
from pneumo_batch.core.statistics import label_share, verdict
from pneumo_batch.core.statistics.model_facts import VariantFacts
from pneumo_batch.core.variants import KINDS, names_of, of_records
from pneumo_batch.report.figures import base

_METHOD, _MIXTURE = "grad_cam", "mixture"
_CELL = Cell(_MIXTURE, "signed", "region", "spearman")  # signed: the magnitude is taken before mixing
_WEIGHTS = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
_THRESHOLD, _OLD_MARGIN = 0.5, 0.05
_COLOURS = {"sensitive": base.TRUE, "insensitive": base.RANDOM}


class Mixtures:
    """What the maps of a run's films under its models, mixed with edges, amount to."""

    def __init__(self, run: Run) -> None:
        self.variants = tuple(of_records(run.model_record(name) for name in run.variants()))
        self.plan = Comparison(
            self.variants, (_MIXTURE,), ("spearman",), 8, run.job.data.image_size, run.job.compare.partner_seed
        )
        self.images = run.maps_table([]).sort_by("image_id")
        ids, patients = (self.images[name].to_pylist() for name in ("image_id", "patient_id"))
        self.partners_NC = pairs.partners(ids, patients, self.plan.seed, pairs.PARTNERS["region"])
        maps_VNhw = np.stack([run.maps(_METHOD, variant.name)[1] for variant in self.variants])
        self.maps_VNSS = self._standardised(
            np.stack([metrics.prepare(maps_Nhw, _METHOD, "magnitude", self.plan.size) for maps_Nhw in maps_VNhw])
        )
        preprocess = run.preprocess()
        self.films_NSS = [preprocess.pixels(run.images.read_bytes(image_id)) for image_id in ids]
        self.edges_NSS = self._standardised(np.stack([controls.sobel_edges(film_SS) for film_SS in self.films_NSS]))

    def test(self, weight: float) -> tuple[label_share.CellTest, str]:
        """The numbers of one mixture and its verdict, were its models beyond reproach."""
        mixed_VNSS = (weight * self.maps_VNSS + (1 - weight) * self.edges_NSS).astype(np.float32)
        features = [self.plan.features({_MIXTURE: mixed_VNSS[:, n]}) for n in range(len(self.films_NSS))]
        ids = self.images["image_id"].to_pylist()
        scores = [
            self.plan.score(
                ids[n], self.films_NSS[n], features[n], Others(features[some[0]], [features[j].regions for j in some])
            )
            for n, some in enumerate(self.partners_NC)
        ]
        data = per_image.gather(self.plan.table(self.images, np.stack(scores)), self.images)
        names = (names_of(self.variants, kind) for kind in KINDS)
        found = label_share.randomization_test(data, *names)[_CELL]
        facts = [VariantFacts(one.name, one.kind) for one in self.variants]
        return found, verdict.decide(facts, found, _THRESHOLD).verdict

    def _standardised(self, maps: np.ndarray) -> np.ndarray:
        grid, side = self.plan.region_grid, self.plan.size // self.plan.region_grid
        regions = maps.reshape(*maps.shape[:-2], grid, side, grid, side).mean(axis=(-3, -1))
        spread = regions.std(axis=(-2, -1), keepdims=True)
        centred = maps - maps.mean(axis=(-2, -1), keepdims=True)
        return np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0)


def draw(found: dict[float, tuple[label_share.CellTest, str]]) -> Figure:
    """The label share, and beside it the difference that the first rule read, against the weight."""
    figure = Figure(figsize=(8, 3), layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True)
    for weight, (test, outcome) in found.items():
        colour = _COLOURS.get(outcome, base.GREY)
        _point(left, weight, test.share, colour)
        _point(right, weight, test.difference, base.GREY)
    for name, colour in (*_COLOURS.items(), ("inconclusive", base.GREY)):
        left.plot([], [], "o", color=colour, label=name)
    left.axhline(_THRESHOLD, color="black", linestyle="--", linewidth=0.8)
    right.axhline(_OLD_MARGIN, color="black", linestyle="--", linewidth=0.8)
    left.legend(loc="lower right")
    left.set(title="Label share L = 1 - k / h, threshold 0.5", ylabel="L (95 % over patients and models)")
    right.set(title="TT - TN, the first rule's margin 0.05", ylabel="TT - TN")
    for ax in (left, right):
        ax.set_xlabel("weight of Grad-CAM; the rest is the film's edges")
    return figure


def _point(ax: Axes, weight: float, one: label_share.Estimate, colour: str) -> None:
    if one.value is None:
        return
    error = None if one.ci_low is None else [[one.value - one.ci_low], [one.ci_high - one.value]]
    ax.errorbar(weight, one.value, yerr=error, fmt="o", color=colour, capsize=3)


def main(run: str, out: str) -> None:
    mixtures = Mixtures(Run(run))
    found = {weight: mixtures.test(weight) for weight in _WEIGHTS}
    for weight, (test, outcome) in found.items():
        numbers = " ".join(f"{name} {_text(getattr(test, name))}" for name in ("share", "difference", "everywhere"))
        print(f"w {weight:g}: {outcome}, {numbers}, p {test.permutation.image_specific.p:.3f}")
    buffer = io.BytesIO()
    with matplotlib.rc_context(base.STYLE):
        draw(found).savefig(buffer, format="png", dpi=110)
    Image.open(buffer).convert("RGB").save(Path(out), optimize=True)


def _text(one: label_share.Estimate) -> str:
    return f"{one.value:.3f} ({one.ci_low:.3f} to {one.ci_high:.3f})" if one.ci_low is not None else f"{one.value}"


if __name__ == "__main__":
    main(*sys.argv[1:])
