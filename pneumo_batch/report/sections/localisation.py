"""Do maps point at what films show? Where boxes or masks tell.

Shapes: H x W pixels.
"""

from collections.abc import Sequence

from pneumo_batch.core import table_columns
from pneumo_batch.core.data.regions.truth import Truths
from pneumo_batch.core.similarity import metrics
from pneumo_batch.core.statistics.pointing import MEASURES, Localisation, Mean, Means, OfFinding
from pneumo_batch.core.statistics.wording import method_name
from pneumo_batch.report.figures import localisation as figures
from pneumo_batch.report.figures import verdict
from pneumo_batch.report.figures.localisation import NAMES, TITLES, Shown
from pneumo_batch.report.parts import MISSING, Block, Fold, Picture, Side, Small, Table, Text, interval, number, slug
from pneumo_batch.report.source import Source, seeded

_FILMS = 4
_MOST_MAPS = 8  # of a film, in a row of the page


def blocks(source: Source) -> list[Block]:
    """A fold a finding, of several targets the one that the source is of; of a run without regions none."""
    found = source.results.localisation
    if not found or not found.images:
        return []
    if not found.findings:
        return [_of_an_older_run(source, found)]
    several = source.results.targets
    return [_fold(source, name, one) for name, one in found.findings.items() if not several or name == source.target]


def _fold(source: Source, finding: str, found: OfFinding) -> Fold:
    tables = [_means(finding, found), _differences(finding, found)]
    drawn = _films(source, finding)
    shown: list[Block] = [Text(_about(finding, found)), figures.measures(finding, found), *([drawn] if drawn else [])]
    return Fold(f"Localisation: do maps point at {finding}?", [*shown, *tables])


def _about(finding: str, found: OfFinding) -> str:
    chosen = f"; a seeded rule chose them among {found.there}" if found.films < found.there else ""
    mask_of = {
        "training films": f" The mean mask is that of the training films with {finding}.",
        "other films": f" The mean mask is that of the other films measured, because no training film has {finding}"
        " outlined.",
        None: "",
    }[found.mean_mask_of]
    return (
        f"{found.films} films of {found.patients} patients with {finding} by label and a box or mask of it{chosen}."
        f" On average {number(Small(found.chance))} of a film lies inside.{mask_of}"
        " A map that points no better than the mean mask says where the finding tends to be, not where this film has"
        " it. Where maps of random models point as well, the pointing is not learnt from the labels."
    )


def _means(finding: str, found: OfFinding) -> Table:
    rows = [[line.words, *_cells(line.means)] for line in figures.lines(found)]
    singles = [
        [f"{method_name(method)}, {name}", *_cells(means)]
        for method, by_name in found.methods.items()
        for name, means in by_name.items()
        if name not in NAMES
    ]
    caption = (
        "Mean over films, with 95 % intervals over patients: how often the highest value lies inside (pointing game);"
        " average precision of the values for the pixels inside (AUPRC); overlap with what Otsu's threshold leaves of"
        " the positive attribution (IoU); share of the positive attribution inside."
    )
    return Table(f"localisation_{slug(finding)}", caption, ["maps", *TITLES.values()], [*rows, *singles])


def _differences(finding: str, found: OfFinding) -> Table:
    rows = [
        [method_name(method), NAMES.get(name, name), *_cells(means)]
        for method, by_name in found.differences.items()
        for name, means in by_name.items()
    ]
    caption = "True models minus others, paired by film: above 0 the true models point better."
    header = ["method", "true models less", *TITLES.values()]
    return Table(f"localisation_differences_{slug(finding)}", caption, header, rows)


def _cells(means: Means) -> list[str]:
    return [_written(means[measure]) for measure in MEASURES]


def _written(one: Mean) -> str:
    if one.mean is None:
        return MISSING
    return f"{number(one.mean)} ({interval(one.ci_low, one.ci_high)})" if one.ci_low is not None else number(one.mean)


def _films(source: Source, finding: str) -> Picture | None:
    """Films with the finding outlined and maps of a true and a random model; None where none can be read."""
    measured = source.localisation[source.localisation["finding"] == finding]
    chosen = seeded(sorted(measured["image_id"].unique()), _FILMS)
    films = source.films.read(chosen)
    if not films:
        return None
    run = source.run
    truths = Truths(run.regions_table(), source.manifest_table, finding, run.preprocess())
    masks = dict(zip(films, truths.of(films), strict=True))
    columns = _columns(source, set(measured["variant"]))
    table = source.maps_of(list(films), list(columns))
    places = {image_id: place for place, image_id in enumerate(table["image_id"].to_pylist())}
    maps = {words: table_columns.tensor_array(table[column]) for column, words in columns.items()}
    size = run.preprocess().size
    shown = []
    for image_id, film in films.items():
        layers = {words: found_Nhw[places[image_id]] for words, found_Nhw in maps.items()}
        resized = {words: metrics.resize(map_hw[None], size)[0] for words, map_hw in layers.items()}
        shown.append(Shown(film, masks[image_id], resized))
    return figures.films(finding, shown)


def _columns(source: Source, measured: set[str]) -> dict[str, str]:
    """Columns of the maps table, and what stands above their pictures."""
    names = [name for some in (source.true, source.random) for name in some if name in measured]
    chosen: Sequence[str] = [*names[:1], *[name for name in names if name in source.random][:1]]
    places = [(method, name) for method in source.methods for name in chosen][:_MOST_MAPS]
    return {source.column(method, name): f"{method_name(method)}\n{name}" for method, name in places}


def _of_an_older_run(source: Source, found: Localisation) -> Fold:
    """Means of the generated images alone, without intervals or baselines."""
    rows = [
        [method_name(method), variant, located.positive_share, located.pointing_game, located.auprc, located.iou]
        for method, variants in found.methods.items()
        for variant, located in variants.items()
    ]
    caption = (
        f"Share of the positive attribution inside the opacity; how often the highest value lies in it (pointing"
        f" game); average precision of the values for its pixels (AUPRC); and its overlap with what Otsu's threshold"
        f" leaves (IoU), over {found.images} generated images with an opacity. In share and AUPRC an uninformative"
        f" map reaches {number(found.chance and Small(found.chance))}, the opacity's share of the image."
    )
    table = Table("localisation", caption, ["method", "variant", "share inside", "pointing game", "AUPRC", "IoU"], rows)
    return Fold("Localisation: do maps point at the opacity?", [Side([verdict.localisation(source, found), table])])
