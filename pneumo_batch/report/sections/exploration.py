"""The data section: what the images are, and what would spoil a result."""

import numpy as np

from pneumo_batch.core.data.options import SPLITS
from pneumo_batch.report.figures import exploration
from pneumo_batch.report.parts import MISSING, Block, Heading, Items, Section, Side, Table, Text
from pneumo_batch.report.source import Source, seeded

_SAMPLE = 240  # images read for histograms and mean images
_EXAMPLES = 8
_EXTENT = ("min", "median", "max")


def build(source: Source) -> Section:
    found = source.audit
    blocks: list[Block] = []
    if found.errors:
        blocks += [Heading("Errors"), Items(found.errors, "error")]
    if found.warnings:
        blocks += [Heading("Warnings"), Items(found.warnings, "warning")]
    if not found.errors and not found.warnings:
        blocks.append(Text("The audit found nothing that would spoil a result."))
    blocks.append(Side([exploration.counts(source), _counts_table(source)]))
    blocks += [Heading("Size and shape"), *_sizes(source)]
    blocks += [Heading("Brightness"), *_pixels(source)]
    blocks += [Heading("Duplicates, patients, colour"), _checks(source)]
    blocks += [Heading("Rejected images"), *_quarantine(source)]
    return Section("data", "Data", blocks)


def groups(source: Source) -> dict[str, list[str]]:
    """Image ids by class, and by subtype within it."""
    rows = source.manifest
    names = rows["class_name"] + rows["subtype"].map(lambda name: f", {name}" if isinstance(name, str) else "")
    return {str(name): sorted(part) for name, part in rows.groupby(names)["image_id"]}


def _counts_table(source: Source) -> Table:
    rows = [
        [split, name, subtype if subtype != "-" else MISSING, count, source.audit.patients[split]]
        for split, by_class in source.audit.counts.items()
        for name, by_subtype in by_class.items()
        for subtype, count in by_subtype.items()
    ]
    header = ["split", "class", "subtype", "images", "patients of the split"]
    return Table("counts", "Images by split, class and subtype.", header, rows)


def _sizes(source: Source) -> list[Block]:
    sizes = source.manifest[["width", "height"]].drop_duplicates()
    if len(sizes) == 1:
        return [Text(f"Every image is {sizes['width'].iloc[0]} × {sizes['height'].iloc[0]} pixels.")]
    drawn = Side([exploration.sizes(source), exploration.aspects(source)])
    return [drawn, _sizes_table(source)]


def _sizes_table(source: Source) -> Table:
    rows = [
        [name, quantity, *(_whole(values[key]) if quantity != "aspect" else values[key] for key in _EXTENT)]
        for name, by_quantity in source.audit.sizes.items()
        for quantity, values in by_quantity.items()
    ]
    header = ["class", "quantity", "minimum", "median", "maximum"]
    return Table("sizes", "As stored, before padding and resizing.", header, rows)


def _whole(pixels: float) -> float | int:
    return int(pixels) if pixels == int(pixels) else pixels


def _pixels(source: Source) -> list[Block]:
    """What needs the images themselves: a seeded sample, equally many of each class and split."""
    rows = source.manifest
    by_group = {key: part["image_id"] for key, part in rows.groupby(["split", "class_name"])}
    sample = {key: seeded(sorted(ids), _SAMPLE // len(by_group)) for key, ids in by_group.items()}
    examples = {name: seeded(ids, _EXAMPLES) for name, ids in groups(source).items()}
    films = source.films.read(sorted(i for ids in sample.values() for i in ids))
    shown = source.films.read(sorted(i for ids in examples.values() for i in ids), exploration.STRIP_SIDE)
    if source.films.problem:
        return [Text(source.films.problem, "note")]
    groups_NHW = {key: np.stack([films[i] for i in sample[key]]) for key in sorted(sample, key=_split_order)}
    names = [name for name in source.classes if name in {name for _, name in groups_NHW}]
    stacks = {name: np.concatenate([stack for key, stack in groups_NHW.items() if key[1] == name]) for name in names}
    size = source.run.preprocess().size
    total = sum(len(stack) for stack in stacks.values())
    return [
        Text(
            f"From {total} images drawn by a seeded rule, equally many of each class and split where there are enough,"
            f" as the networks see them: one grey channel, {size} × {size} pixels.",
            "note",
        ),
        Side([exploration.brightness(stacks), exploration.means(stacks)]),
        *_drift(groups_NHW),
        Heading("Examples"),
        *(exploration.strip(name, [shown[i] for i in ids]) for name, ids in examples.items()),
    ]


def _split_order(key: tuple[str, str]) -> tuple[int, str]:
    return SPLITS.index(key[0]), key[1]


def _drift(stacks: dict[tuple[str, str], np.ndarray]) -> list[Block]:
    """Training against the other splits, by class: a model is judged on images unlike those it learnt from."""
    if len({split for split, _ in stacks}) < 2:
        return []
    levels = {key: stack_NHW.mean(axis=(1, 2)) / 255 for key, stack_NHW in stacks.items()}
    rows = []
    for (split, name), level_N in levels.items():
        contrast = float(stacks[split, name].std(axis=(1, 2)).mean() / 255)
        trained_N = levels.get(("train", name), np.empty(0))
        spread = float(trained_N.std()) if len(trained_N) else 0.0
        apart = float(level_N.mean() - trained_N.mean()) / spread if split != "train" and spread else None
        rows.append([split, name, len(level_N), float(level_N.mean()), contrast, apart])
    caption = (
        "“Apart”: the mean grey value minus that of training, in standard deviations between training images."
        " The metrics on validation and test show how much a difference costs."
    )
    header = ["split", "class", "images", "mean grey value", "contrast", "apart"]
    table = Table("drift", caption, header, rows)
    return [Heading("Drift between splits"), Side([exploration.drift(stacks), table])]


def _checks(source: Source) -> Table:
    found = source.audit
    modes = "; ".join(
        f"{name}: {', '.join(f'{count} {mode}' for mode, count in by_mode.items())}"
        for name, by_mode in found.modes.items()
    )
    rows = [
        ["Byte-identical images", f"{found.duplicates['images']} in {found.duplicates['groups']} groups"],
        ["Patients of training or validation who are also in test", str(found.patient_overlap)],
        ["Colour modes as stored", modes],
        ["Images read", str(found.images)],
        ["Images rejected", str(sum(found.quarantined.values()))],
    ]
    return Table("checks", "What can leak a label or an image.", ["check", "found"], rows)


def _quarantine(source: Source) -> list[Block]:
    rows = source.quarantine_table.to_pandas()
    if rows.empty:
        return [Text("None.")]
    values = rows.astype(object).where(rows.notna(), None).to_numpy().tolist()
    return [Table("quarantine", "Every rejected image and the reason.", list(rows.columns), values)]
