"""Small concluded runs whose tables are written here, for tests of the report: no training, no Ray."""

import dataclasses
import html.parser
import itertools
import json
from collections.abc import Callable
from pathlib import Path

import filelock
import numpy as np
import pyarrow as pa
from PIL import Image

from pneumo_batch import report
from pneumo_batch.core import table_columns, tables
from pneumo_batch.core.models import evaluation
from pneumo_batch.core.randomization import curves as randomized_curves
from pneumo_batch.core.similarity import options, pairs, per_image
from pneumo_batch.core.statistics import arms, localisation, model_results, results, summaries
from pneumo_batch.core.statistics.model_facts import VariantFacts
from pneumo_batch.core.variants import KINDS, RANDOM, Variant, arms_of, names_of, of_records
from pneumo_batch.job import jobfile
from pneumo_batch.report.source import Source
from pneumo_batch.rundir.writer import RunWriter
from pneumo_batch.stages import localise

EVIL = "PNEUMONIA</script><script>alert(1)</script> $x$"
EVIL_FILE = '<img src=x onerror=alert(1)> & "quoted".png'
SIZE = 32
METRICS = ["spearman", "pearson"]


def make_run(
    root: Path,
    *,
    kinds=(3, 3),
    classes=("NORMAL", EVIL),
    methods=("integrated_gradients", "grad_cam"),
    curves=False,
    further=(),
    regions=False,
) -> RunWriter:
    """A concluded run of 12 images a class below `root`, images included; `curves` adds the tables of curves.

    `further` are values of `[[arm]]` tables. With `regions` every film of the last class has a box, and localisation is
    measured.
    """
    rng = np.random.default_rng(0)
    values = {
        "name": "tiny",
        "data": {"root": str(root / "images"), "image_size": SIZE},
        "train": {"true_seeds": list(range(kinds[0])), "random_seeds": list(range(100, 100 + kinds[1]))},
        "attribution": {"methods": list(methods)},
        "compare": {"metrics": METRICS, "resamples": 100},
        "cascade": {"seeds": [7, 8], "noisy": 5} if curves else {},
        "arm": list(further),
    }
    job = jobfile.parse(values, source="test")
    run = RunWriter(root / "run")
    run.open(job, "f" * 64)
    manifest = _manifest(root / "images", classes, rng)
    run.store.write_table("manifest/part-0.parquet", manifest)
    rejected = [{"image_id": "test/bad.png", "split": "test", "stage": "index", "reason": "truncated <b>file</b>"}]
    run.store.write_table("quarantine.parquet", pa.Table.from_pylist(rejected, schema=tables.QUARANTINE))
    names = [variant.name for variant in job.trained]
    for variant in job.trained:
        _write_model(run, variant, manifest, classes, rng)
    images = manifest.filter(pa.compute.equal(manifest["split"], "test")).sort_by("image_id")
    _write_maps(run, images, names, methods, rng)
    if regions:
        _write_regions(run, manifest, classes[-1])
    if curves:
        _write_curves(run, methods)
    _conclude(run, images, names, classes, rng)
    run.stage("conclude", status="complete", seconds=0.1, counts={"methods": len(methods)})
    return run


def _manifest(folder: Path, classes, rng) -> pa.Table:
    rows = []
    for label, name in enumerate(classes):
        for i, split in enumerate(["train"] * 4 + ["val"] * 2 + ["test"] * 6):
            stem = EVIL_FILE if (label, i) == (1, 6) else f"person{label}_{i}.png"
            image_id = f"{split}/{label}/{stem}"
            pixels = rng.integers(0, 255, (40 + i, 50), dtype=np.uint8)
            (folder / image_id).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / image_id)
            row = {
                "image_id": image_id,
                "split": split,
                "class_name": name,
                "label": label,
                "patient_id": f"{label}-{i}",
            }
            row |= {"patient_id": f"{label}-{i}", "width": 50, "height": 40 + i, "mode": "L"}
            row |= {"subtype": "virus" if label and i % 2 else None}
            rows.append({**row, "bytes": 10, "sha256": f"{label}-{i}"})
    return pa.Table.from_pylist(rows, schema=tables.MANIFEST)


def _write_regions(run: RunWriter, manifest: pa.Table, finding: str) -> None:
    films = manifest.filter(pa.compute.equal(manifest["class_name"], finding)).to_pylist()
    rows = [
        {"image_id": film["image_id"], "finding": finding, "shape": "box", "width": 20.0, "height": 15.0}
        | {"x": 2.0 * place, "y": float(place)}
        for place, film in enumerate(films)
    ]
    run.store.write_table("regions.parquet", pa.Table.from_pylist(rows, schema=tables.REGIONS))


def _write_model(run: RunWriter, variant: Variant, manifest: pa.Table, classes, rng) -> None:
    name, arm = variant.name, run.job.arms[variant.kind]
    outputs = 1 if len(classes) == 2 else len(classes)
    logits, labels = {}, {}
    for split in ("train", "val", "test"):
        rows = manifest.filter(pa.compute.equal(manifest["split"], split)).sort_by("image_id")
        labels[split] = rows["label"].to_numpy()
        noise = rng.standard_normal((len(labels[split]), outputs)).astype(np.float32)
        skill = 2.0 if name.startswith("true") else 0.0
        hot = np.eye(len(classes), dtype=np.float32)[labels[split]]
        logits[split] = noise + skill * (hot if outputs > 1 else 2 * labels[split][:, None].astype(np.float32) - 1)
    is_true = name.startswith("true")
    measured = evaluation.measure(logits, labels)
    record = {
        "name": name,
        "kind": variant.kind,
        "seed": variant.seed,
        "arm": arm.as_record(),
        "network": "cnn5",
        "classes": list(classes),
        "outputs": outputs,
        "preprocess": {"size": SIZE, "channels": 1, "pad": "black", "mean": 0.5, "std": 0.25},
        **measured,
        "epochs": 2,
        "chosen_epoch": 2,
        "memorised": 1.0 if arm.is_permuted else None,
        "label_agreement": 1.0 if is_true else 0.5,
    }
    run.store.write_json(f"models/{name}/model.json", record)
    epochs = [
        {"variant": name, "epoch": i, "learning_rate": 1e-3, "train_loss": 1 / i, "train_accuracy": 0.5} for i in (1, 2)
    ]
    run.store.write_table(f"models/{name}/history.parquet", pa.Table.from_pylist(epochs, schema=tables.HISTORY))
    run.store.write_table(f"models/{name}/predictions.parquet", evaluation.predictions(manifest, logits))


def _write_maps(run: RunWriter, images: pa.Table, names, methods, rng) -> None:
    shapes = {method: (SIZE, SIZE) if method == "integrated_gradients" else (4, 4) for method in methods}
    schema = tables.maps_schema(shapes, names, [])
    columns = []
    for field in schema:
        if field.name in images.column_names:
            columns.append(images[field.name].combine_chunks())
        elif field.name.startswith("logit__"):
            columns.append(pa.array(np.zeros(images.num_rows, np.float32)))
        else:
            columns.append(table_columns.tensor_column(rng.standard_normal((images.num_rows, *field.type.shape))))
    run.store.write_table("maps/part-0.parquet", pa.Table.from_arrays(columns, schema=schema))


def _conclude(run: RunWriter, images: pa.Table, names, classes, rng) -> None:
    """Scores drawn at random; everything after them is computed.

    Integrated Gradients of any two models are alike on a film; maps of the other methods are so of true models only,
    and of a true one and one of a further arm by the share of labels that are not permuted.
    """
    job, variants = run.job, of_records(run.model_record(name) for name in names)
    cells = itertools.product(job.attribution.methods, options.VIEWS, options.SCALES, METRICS)
    rows = []
    kept = {"true_true": 1.0} | {f"true_{name}": 1 - arm.fraction for name, arm in job.arms.items() if arm.is_permuted}
    for (method, view, scale, metric), (kind, chosen) in itertools.product(cells, pairs.plan(variants).items()):
        for (a, b), image in itertools.product(chosen, images.to_pylist()):
            alike = pairs.is_within(kind) if method == "integrated_gradients" else kind in kept and kept[kind]
            score = rng.uniform(-0.2 + 0.7 * alike, 0.3 + 0.7 * alike)
            row = {"method": method, "view": view, "scale": scale, "metric": metric, "kind": kind, "variant_a": a}
            row |= {key: image[key] for key in ("image_id", "label", "patient_id")}
            rows.append({**row, "variant_b": b, "score": score, "degenerate": False})
    scores = pa.Table.from_pylist(rows, schema=tables.SCORES)
    run.store.write_table("scores/part-0.parquet", scores)
    data = per_image.gather(scores, images)
    run.store.write_table("summary.parquet", summaries.summarise(data, classes, resamples=100))
    facts = [
        VariantFacts(one.name, one.kind, training_accuracy=1.0, epochs=2, arm=job.arms[one.kind]) for one in variants
    ]
    primary, threshold = results.Primary(**job.compare.primary.model_dump()), job.compare.threshold
    rule, contrasted = arms.Rule(primary, threshold, 100), arms_of(variants) or [RANDOM]
    by_arm = {name: arms.conclude(data, facts, job.arms[name], rule) for name in contrasted}
    found = results.Results(
        primary=primary,
        threshold=threshold,
        methods=by_arm[contrasted[0]],
        contrast=contrasted[0],
        arms=arms.results_of(job.arms, variants, by_arm),
        variants={name: _judged(run, name) for name in names},
        degenerate={f"{job.attribution.methods[0]}/signed": dict.fromkeys(names, 1)},
        cascade=_ends_of_curves(run, primary) if run.store.exists("cascade_summary.parquet") else None,
    )
    measured = localise.measure(job, run, variants)
    if measured:
        run.store.write_table("localisation.parquet", pa.concat_tables([one.rows() for one in measured]))
        by_kind = {kind: names_of(variants, kind) for kind in KINDS}
        found = dataclasses.replace(found, localisation=localisation.conclude(measured, by_kind, 100))
    run.store.write_json("verdict.json", found.as_dict())


def _ends_of_curves(run: RunWriter, primary: results.Primary):
    summary = run.store.read_table("cascade_summary.parquet", schema=tables.CASCADE_SUMMARY)
    return randomized_curves.at_full_depth(summary, primary.view, primary.scale, primary.metric)


def _write_curves(run: RunWriter, methods) -> None:
    """Parameter randomization of three layers, and agreement at two grid sizes, as round numbers."""
    randomized, scales = [], []
    places = list(itertools.product(methods, options.VIEWS))
    for (method, view), scale, metric in itertools.product(places, options.SCALES, METRICS):
        for mode, depth in [*(("cascade", depth) for depth in range(4)), *(("independent", d) for d in (1, 2, 3))]:
            row = {"variant": "true_0", "method": method, "view": view, "scale": scale, "metric": metric, "mode": mode}
            mean = 1 - depth / 4
            row |= {"depth": depth, "layer": ("", "fc.3", "fc.0", "conv1.0")[depth], "images": 12, "pairs": 24}
            row |= {"mean": mean, "ci_low": mean - 0.1, "ci_high": min(1.0, mean + 0.1), "entropy": depth / 3}
            rise = depth / 4
            row |= {"map_entropy": 4 + depth, "rise": rise, "rise_low": rise - 0.1, "rise_high": rise + 0.1}
            row |= {"smooth_mean": 0.9 * mean, "smooth_low": 0.8 * mean, "smooth_high": mean}
            randomized.append({**row, "degenerate": int(depth == 3)})
    for (method, view), grid in itertools.product(places, (4, 8)):
        low = 0.1 if grid == 4 else -0.1
        row = {"method": method, "view": view, "grid": grid, "images": 12, "mean_tt": 0.8, "mean_ttx": 0.4}
        scales.append({**row, "mean_tn": 0.3, "difference_low": low, "difference_high": 0.6})
    run.store.write_table("cascade_summary.parquet", pa.Table.from_pylist(randomized, schema=tables.CASCADE_SUMMARY))
    run.store.write_table("scales.parquet", pa.Table.from_pylist(scales, schema=tables.SCALES))


def _judged(run: RunWriter, name: str) -> model_results.VariantResult:
    record = run.model_record(name)
    keys = ("kind", "seed", "network", "epochs", "chosen_epoch", "memorised", "label_agreement", "threshold")
    test = model_results.OnTest(**record["metrics"]["test"], auroc_interval=(0.4, 0.9))
    train = record["metrics"]["train"]
    trained = {"training_accuracy": train["accuracy"], "training_balanced_accuracy": train["balanced_accuracy"]}
    known = {key: record[key] for key in keys}
    return model_results.VariantResult(**known, majority=None, **trained, test=test)


class Page(html.parser.HTMLParser):
    """Tags with their attributes, the text of scripts, and tables by name as rows of cell texts."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict]] = []
        self.scripts: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.text: list[str] = []
        self._inside = self._table = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")
        if "data-table" in dict(attrs):
            self._table = dict(attrs)["data-table"]
            self.tables[self._table] = []
        if tag == "tr":
            self.tables[self._table].append([])
        if tag in ("td", "th"):
            self.tables[self._table][-1].append("")

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside in ("td", "th"):
            self.tables[self._table][-1][-1] += data
        elif self._inside != "style":
            self.text.append(data)

    def of(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


def build(run: RunWriter) -> tuple[RunWriter, Page, str, dict]:
    counts = report.build(run)
    text = run.store.read_bytes("report/index.html").decode()
    return run, Page(text), text, counts


def build_once(root: Path, make: Callable[[Path], RunWriter]) -> tuple[RunWriter, Page, str, dict]:
    """What `build` returns of the run that `make` writes below a folder, which is made by whoever comes first."""
    counts = root / "counts.json"
    with filelock.FileLock(f"{root}.lock"):
        if not counts.exists():
            root.mkdir()
            counts.write_text(json.dumps(build(make(root))[3]))
    run = RunWriter(root / "run")
    text = run.store.read_bytes("report/index.html").decode()
    return run, Page(text), text, json.loads(counts.read_text())


def shown(value: float) -> str:
    """A number as the page writes it."""
    return "0.000" if abs(value) < 0.0005 else f"{value:.3f}".replace("-", "−")


def without_test_split(source: Source) -> Source:
    """The source as of a run whose data have no test split; how maps compare stays."""
    source.manifest = source.manifest[source.manifest["split"] != "test"].copy()
    nothing = {"images": 0, "auroc": None, "auroc_interval": (None, None)}
    variants = {
        name: dataclasses.replace(one, test=dataclasses.replace(one.test, **nothing))
        for name, one in source.results.variants.items()
    }
    source.results = dataclasses.replace(source.results, variants=variants)
    return source
