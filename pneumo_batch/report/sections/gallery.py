"""The gallery: films and their maps under true and random variants, side by side.

Shapes: V maps, h x w of a layer, H x W pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pneumo_batch.core import table_columns
from pneumo_batch.core.similarity import metrics, options, pairs
from pneumo_batch.core.statistics.wording import listed, method_name
from pneumo_batch.report import kept, selection
from pneumo_batch.report.figures import overlays
from pneumo_batch.report.figures.base import metric_name
from pneumo_batch.report.parts import number
from pneumo_batch.report.source import Source

_BYTES = 7_000_000  # of maps, of the 15 MB that a page may weigh
_BYTES_PER_PIXEL = 1.0  # of a palette PNG of noise, written in base64: measured 0.7 to 1.0
_SIDES = (48, 192)
_MOST_VARIANTS = 4  # of each kind: the page shows maps, the tables hold all of them
_Key = tuple[str, str, str]


@dataclass(frozen=True)
class Tile:
    """One picture of a row: its layers by view, what stands below it, and what the pointer shows."""

    title: str
    caption: str
    hover: str
    layers: dict[str, str]


@dataclass(frozen=True)
class Row:
    """The maps of one method; `limits` are the colour bars' ends by view."""

    method: str
    limits: dict[str, str]
    tiles: list[Tile]


@dataclass(frozen=True)
class Case:
    image_id: str
    class_name: str
    about: str
    rules: list[str]
    film: str | None
    predictions: list[str]
    rows: list[Row]


@dataclass(frozen=True)
class Gallery:
    cases: list[Case]
    rules: list[str]
    classes: list[str]
    notes: list[str]
    gradients: dict[str, str]


def build(source: Source) -> Gallery:
    chosen = selection.choose(source)
    true, random = source.true[:_MOST_VARIANTS], source.random[:_MOST_VARIANTS]
    # a row for each method, of every target: by the images that the first one has chosen
    shown = [(_Maps(one, list(chosen), true, random), _Facts(one, list(chosen))) for one in (source, *source.others)]
    maps, facts = shown[0]
    films, problem = kept.films(source, list(chosen))
    about = source.manifest.set_index("image_id")
    cases = [
        Case(
            image_id=image_id,
            class_name=about.loc[image_id, "class_name"],
            about=_about(about.loc[image_id]),
            rules=rules,
            film=overlays.film(films[image_id]) if image_id in films else None,
            predictions=[facts.prediction(image_id, name) for name in source.variants],
            rows=[of.row(image_id, method, said) for of, said in shown for method in source.methods],
        )
        for image_id, rules in chosen.items()
    ]
    rules = list(dict.fromkeys(rule for case in cases for rule in case.rules))
    classes = [name for name in source.classes if any(case.class_name == name for case in cases)]
    gradients = {name: overlays.gradient(name) for name in (overlays.DIVERGING, overlays.SEQUENTIAL)}
    return Gallery(cases, rules, classes, _notes(source, maps, problem), gradients)


def _about(row: pd.Series) -> str:
    subtype = f", {row['subtype']}" if isinstance(row["subtype"], str) else ""
    return f"{row['class_name']}{subtype}; patient {row['patient_id']}; {row['width']} × {row['height']} pixels"


def _notes(source: Source, maps: "_Maps", problem: str | None) -> list[str]:
    primary = source.results.primary
    notes = [
        f"Within a row all maps share one scale, clipped at the {overlays.PERCENTILE}th percentile of their absolute"
        " values; the ends of the colour bar give it. Difference: the mean of the true maps minus the mean of the"
        " random ones.",
        "Signed maps: red speaks for the explained class, blue against it, white is 0.",
        "Magnitude: brighter is larger.",
        "Below a map: its mean similarity to the maps of the true models (TT of a true model, to the other ones; TN of"
        f" a random one), {metric_name(primary.metric)}, {primary.view} view, {primary.scale} scale.",
    ]
    if source.results.first_target:
        notes.insert(
            0,
            "The choice of films and the predictions beside them are of the first target,"
            f" {source.results.first_target}; maps are of every target.",
        )
    if maps.side < source.run.preprocess().size:
        notes.append(
            f"Maps are shown at {maps.side} × {maps.side} pixels, averaged; the run holds them at full resolution."
        )
    hidden = [name for name in source.variants if name not in (*maps.true, *maps.random)]
    if hidden:
        notes.append(f"Not shown for lack of space: {listed(hidden)}.")
    return [*notes, problem] if problem else notes


class _Maps:
    """The maps of some images, and how they are drawn."""

    def __init__(self, source: Source, ids: list[str], true: list[str], random: list[str]):
        self.true, self.random, self.size = true, random, source.run.preprocess().size
        names = [*true, *random]
        columns = [source.column(method, name) for method in source.methods for name in names]
        table = source.maps_of(ids, columns)
        self.places = {image_id: place for place, image_id in enumerate(table["image_id"].to_pylist())}
        self.maps = {
            method: list(
                zip(*(table_columns.tensor_array(table[source.column(method, name)]) for name in names), strict=True)
            )
            for method in source.methods
        }
        of = f", {source.target}" if source.results.targets else ""
        self.names = {method: f"{method_name(method)}{of}" for method in source.methods}
        rows = len(source.methods) * max(1, len(source.results.targets))
        layers = len(ids) * rows * len(options.VIEWS) * (len(names) + 1)
        fitting = int((_BYTES / _BYTES_PER_PIXEL / max(1, layers)) ** 0.5)
        self.side = max(_SIDES[0], min(_SIDES[1], fitting, self.size))

    def row(self, image_id: str, method: str, facts: "_Facts") -> Row:
        names = [*self.true, *self.random]
        drawn = {view: self._draw(image_id, method, view) for view in options.VIEWS}
        tiles = [
            Tile(name, *facts.caption(image_id, method, name), {view: uris[place] for view, (_, uris) in drawn.items()})
            for place, name in enumerate(names)
        ]
        if self.true and self.random:
            text = f"{self.names[method]}: mean of the true maps minus mean of the random maps"
            tiles.append(Tile("difference", "", text, {view: uris[-1] for view, (_, uris) in drawn.items()}))
        limits = {view: f"{clip:.3g}" for view, (clip, _) in drawn.items()}
        return Row(self.names[method], limits, tiles)

    def _draw(self, image_id: str, method: str, view: str) -> tuple[float, list[str]]:
        """The clip of the row, and its layers, the difference last."""
        maps = metrics.stacked([np.nan_to_num(map_hw) for map_hw in self.maps[method][self.places[image_id]]])
        maps_VHW = metrics.prepare(maps, method, view, self.size)
        clip = overlays.limit(maps_VHW)
        palette = overlays.DIVERGING if view == "signed" else overlays.SEQUENTIAL
        uris = [overlays.layer(map_HW, clip, palette, self.side) for map_HW in maps_VHW]
        if self.true and self.random:
            split = len(self.true)
            difference_HW = maps_VHW[:split].mean(axis=0) - maps_VHW[split:].mean(axis=0)
            uris.append(overlays.layer(difference_HW, clip, overlays.DIVERGING, self.side))
        return clip, uris


class _Facts:
    """Probabilities and scores of some images, in words."""

    def __init__(self, source: Source, ids: list[str]):
        self._source = source
        self._scores = _mean_scores(source.scores_of(ids), source.true)
        self._said: dict[str, dict[str, np.ndarray]] = {}
        for name in source.variants:
            for split in source.job.attribution.splits:
                found = source.answers(name, split)
                values = zip(found.image_ids, found.probabilities, strict=True)
                self._said.setdefault(name, {}).update(values)

    def prediction(self, image_id: str, variant: str) -> str:
        """`true_0 0.83`, with the class that is claimed where there are more than two."""
        value, source = self._said[variant][image_id], self._source
        if not source.is_binary:
            best = int(np.argmax(value))
            return f"{variant} {source.classes[best]} {number(float(value[best]), 2)}"
        mark = source.classes[1] if value >= source.models[variant]["threshold"] else source.classes[0]
        return f"{variant} {number(float(value), 2)} ({mark})"

    def caption(self, image_id: str, method: str, variant: str) -> tuple[str, str]:
        """What stands below a map, and every score of it for the pointer."""
        cell = self._source.primary(method)
        scores = self._scores.get((image_id, method, variant), {})
        value = scores.get((cell.view, cell.scale, cell.metric))
        kind = "TT" if variant in self._source.true else "TN"
        below = "" if value is None else "constant map" if np.isnan(value) else f"{kind} {number(value, 2)}"
        lines = [f"{method_name(method)}, {self.prediction(image_id, variant)}"]
        for view, scale in sorted({key[:2] for key in scores}):
            values = [f"{key[2]} {number(score, 2)}" for key, score in scores.items() if key[:2] == (view, scale)]
            lines.append(f"{kind}, {view}, {scale}: {', '.join(values)}")
        return below, "\n".join(lines)


def _mean_scores(rows: pd.DataFrame, true: Sequence[str]) -> dict[_Key, dict[_Key, float]]:
    """By (image, method, variant) and (view, scale, metric): mean similarity with the true variants on that image."""
    rows = rows[rows["kind"].isin(pairs.WITHIN_KINDS)]
    keys = ["image_id", "method", "view", "scale", "metric"]
    rows = rows.astype(dict.fromkeys((*keys, "variant_a", "variant_b"), str))
    swapped = rows.rename(columns={"variant_a": "variant_b", "variant_b": "variant_a"})
    both = pd.concat([rows, swapped])
    means = both[both["variant_b"].isin(true)].groupby([*keys, "variant_a"], sort=False)["score"].mean()
    found: dict[_Key, dict[_Key, float]] = {}
    for *key, score in means.reset_index().itertuples(index=False):
        image_id, method, view, scale, metric, variant = key
        found.setdefault((image_id, method, variant), {})[view, scale, metric] = float(score)
    return found
