"""The report of small runs whose tables are written here: no training, no Ray."""

import base64
import hashlib
import html.parser
import io
import itertools
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image

from pneumo_batch import jobfile, report
from pneumo_batch.core import classification, evaluation, pairs, per_image, similarity, statistics, tables, verdict
from pneumo_batch.report import gallery, overlays, parts, selection, training_figures
from pneumo_batch.report.source import Source
from pneumo_batch.run import Run

EVIL = "PNEUMONIA</script><script>alert(1)</script> $x$"
EVIL_FILE = '<img src=x onerror=alert(1)> & "quoted".png'
SIZE = 32
METRICS = ["spearman", "pearson"]
BOTH = ("integrated_gradients", "grad_cam")


def make_run(
    root: Path, *, kinds=(2, 2), classes=("NORMAL", EVIL), methods=("integrated_gradients", "grad_cam")
) -> Run:
    """A concluded run of 12 images a class below `root`, images included."""
    rng = np.random.default_rng(0)
    values = {
        "name": "tiny",
        "data": {"root": str(root / "images"), "image_size": SIZE},
        "train": {"true_seeds": list(range(kinds[0])), "random_seeds": list(range(100, 100 + kinds[1]))},
        "attribution": {"methods": list(methods)},
        "compare": {"metrics": METRICS, "resamples": 100},
    }
    job = jobfile.parse(values, source="test")
    run = Run.create(root / "run", job, "f" * 64)
    manifest = _manifest(root / "images", classes, rng)
    run.store.write_table("manifest/part-0.parquet", manifest)
    rejected = [{"image_id": "test/bad.png", "split": "test", "stage": "index", "reason": "truncated <b>file</b>"}]
    run.store.write_table("quarantine.parquet", pa.Table.from_pylist(rejected, schema=tables.QUARANTINE))
    names = [f"true_{i}" for i in range(kinds[0])] + [f"random_{100 + i}" for i in range(kinds[1])]
    for name in names:
        _write_model(run, name, manifest, classes, rng)
    images = manifest.filter(pa.compute.equal(manifest["split"], "test")).sort_by("image_id")
    _write_maps(run, images, names, methods, rng)
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


def _write_model(run: Run, name: str, manifest: pa.Table, classes, rng) -> None:
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
    record = {
        "name": name,
        "kind": "true" if is_true else "random",
        "seed": int(name.rpartition("_")[2]),
        "network": "cnn5",
        "classes": list(classes),
        "outputs": outputs,
        "preprocess": {"size": SIZE, "channels": 1, "pad": "black", "mean": 0.5, "std": 0.25},
        **evaluation.measure(logits, labels),
        "epochs": 2,
        "chosen_epoch": 2,
        "memorised": None if is_true else 1.0,
        "label_agreement": 1.0 if is_true else 0.5,
    }
    run.store.write_json(f"models/{name}/model.json", record)
    epochs = [
        {"variant": name, "epoch": i, "learning_rate": 1e-3, "train_loss": 1 / i, "train_accuracy": 0.5} for i in (1, 2)
    ]
    run.store.write_table(f"models/{name}/history.parquet", pa.Table.from_pylist(epochs, schema=tables.HISTORY))
    run.store.write_table(f"models/{name}/predictions.parquet", evaluation.predictions(manifest, logits))


def _write_maps(run: Run, images: pa.Table, names, methods, rng) -> None:
    shapes = {method: (SIZE, SIZE) if method == "integrated_gradients" else (4, 4) for method in methods}
    schema = tables.maps_schema(shapes, names, [])
    columns = []
    for field in schema:
        if field.name in images.column_names:
            columns.append(images[field.name].combine_chunks())
        elif field.name.startswith("logit__"):
            columns.append(pa.array(np.zeros(images.num_rows, np.float32)))
        else:
            columns.append(tables.tensor_column(rng.standard_normal((images.num_rows, *field.type.shape))))
    run.store.write_table("maps/part-0.parquet", pa.Table.from_arrays(columns, schema=schema))


def _conclude(run: Run, images: pa.Table, names, classes, rng) -> None:
    """Scores drawn at random, true pairs more alike; everything after them is computed."""
    job, variants = run.job, [(name, name.startswith("true")) for name in names]
    cells = itertools.product(job.attribution.methods, similarity.VIEWS, similarity.SCALES, METRICS)
    rows = []
    for (method, view, scale, metric), (kind, chosen) in itertools.product(cells, pairs.plan(variants).items()):
        for (a, b), image in itertools.product(chosen, images.to_pylist()):
            score = rng.uniform(0.5, 1.0) if kind == "true_true" else rng.uniform(-0.2, 0.3)
            row = {"method": method, "view": view, "scale": scale, "metric": metric, "kind": kind, "variant_a": a}
            row |= {key: image[key] for key in ("image_id", "label", "patient_id")}
            rows.append({**row, "variant_b": b, "score": score, "degenerate": False})
    scores = pa.Table.from_pylist(rows, schema=tables.SCORES)
    run.store.write_table("scores/part-0.parquet", scores)
    data = per_image.gather(scores, images)
    true, random = ([name for name, is_true in variants if is_true == wanted] for wanted in (True, False))
    run.store.write_table("summary.parquet", statistics.summarise(data, classes, resamples=100))
    tests = statistics.calibrated_test(data, true, random, resamples=100)
    primary, facts = job.compare.primary, [verdict.VariantFacts(name, is_true) for name, is_true in variants]
    found = {
        "primary": primary.model_dump(),
        "margin": 0.05,
        "methods": verdict.conclude(facts, tests, (primary.view, primary.scale, primary.metric), 0.05),
        "variants": {name: _judged(run, name) for name in names},
        "degenerate": {f"{job.attribution.methods[0]}/signed": dict.fromkeys(names, 1)},
    }
    run.store.write_json("verdict.json", found)


def _judged(run: Run, name: str) -> dict:
    record = run.model_record(name)
    keys = ("kind", "seed", "network", "epochs", "chosen_epoch", "memorised", "label_agreement", "threshold")
    test = {**record["metrics"]["test"], "auroc_interval": [0.4, 0.9]}
    accuracy = record["metrics"]["train"]["accuracy"]
    return {**{key: record[key] for key in keys}, "training_accuracy": accuracy, "test": test}


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


def build(run: Run) -> tuple[Run, Page, str, dict]:
    counts = report.run(run.job, run, None)
    text = run.store.read_bytes("report/index.html").decode()
    return run, Page(text), text, counts


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    return build(make_run(tmp_path_factory.mktemp("full")))


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return build(make_run(tmp_path_factory.mktemp("pair"), kinds=(1, 1), methods=("integrated_gradients",)))


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Three classes, and the image folder gone."""
    root = tmp_path_factory.mktemp("many")
    run = make_run(root, classes=("A", "B", "C"), methods=("integrated_gradients",))
    (root / "images").rename(root / "moved")
    return build(run)


# ------------------------------------------------------------------------------------------------------------ security


def test_names_from_outside_are_text(full):
    _, page, text, _ = full
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert "<b>file</b>" not in text
    assert len(page.scripts) == 1
    assert any(EVIL in line for line in page.text)
    assert any(EVIL_FILE in line for line in page.text)
    assert page.tables["quarantine"][1][-1] == "truncated <b>file</b>"


def test_only_our_script_may_run_and_nothing_may_be_loaded(full):
    _, page, _, _ = full
    policy = next(one["content"] for one in page.of("meta") if one.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256(page.scripts[0].encode()).digest()).decode()
    assert policy.split("; ") == [
        "default-src 'none'",
        "img-src data:",
        "style-src 'unsafe-inline'",
        f"script-src 'sha256-{digest}'",
        "base-uri 'none'",
        "form-action 'none'",
    ]


@pytest.mark.parametrize("name", ["full", "pair", "many"])
def test_the_page_refers_to_nothing_outside(name, request):
    _, page, text, _ = request.getfixturevalue(name)
    for _, attributes in page.tags:
        for key in ("src", "href"):
            assert re.match(r"data:|#", attributes.get(key) or "#"), attributes
        assert not [key for key in attributes if key.startswith("on") or key == "style"]
    assert not re.search(r"https?://|@import|url\((?!\"data:)", text)


@pytest.mark.parametrize("name", ["full", "pair", "many"])
def test_every_picture_says_what_it_shows_and_headings_are_in_order(name, request):
    _, page, _, _ = request.getfixturevalue(name)
    assert page.of("img")
    assert all(attributes["alt"].strip() for attributes in page.of("img"))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert all(attributes.get("scope") in ("col", "row") for attributes in page.of("th"))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_model_cards_escape_names(full):
    run, _, _, _ = full
    card = run.store.read_bytes("report/model_card_true_0.md").decode()
    assert "<script>" not in card
    assert "&lt;script&gt;" in card
    assert "not for clinical use" in card


# ------------------------------------------------------------------------------------------------------------- numbers


def shown(value: float) -> str:
    return f"{value:.3f}".replace("-", "−") if abs(value) >= 0.0005 or value == 0 else f"{value:.1g}".replace("-", "−")


def test_summary_is_the_table(full):
    run, page, _, _ = full
    rows, summary = page.tables["summary"], run.summary()
    assert rows[0] == list(summary.columns)
    assert [row[9] for row in rows[1:]] == [shown(value) for value in summary["mean"]]
    assert [row[6] for row in rows[1:]] == [str(value) for value in summary["images"]]
    csv = pd.read_csv(io.BytesIO(run.store.read_bytes("report/figures/summary.csv")))
    np.testing.assert_array_equal(csv["ci_low"].to_numpy(), summary["ci_low"].to_numpy())


def test_verdict_is_that_of_the_run(full):
    run, page, _, _ = full
    found = run.verdict["methods"]["grad_cam"]
    row = next(row for row in page.tables["verdict"] if row[0] == "Grad-CAM")
    assert row[1] == found["verdict"] == "sensitive"
    assert row[2] == shown(found["numbers"]["means"]["true_true"])
    assert row[9] == shown(found["numbers"]["difference"]["mean"])
    lead = "Maps of Integrated Gradients and Grad-CAM depend on what the network learnt from the labels: they pass"
    assert any(line.startswith(lead) for line in page.text)
    assert set(found["reasons"]) <= set(page.text)


def test_metrics_are_those_of_the_models(full):
    run, page, _, _ = full
    rows = {(row[0], row[2]): row for row in page.tables["metrics"][1:]}
    assert len(rows) == 4 * 3
    for (name, split), row in rows.items():
        measured = run.model_record(name)["metrics"][split]
        assert row[3:7] == [str(measured["images"]), *(shown(measured[k]) for k in _FIRST)]


_FIRST = ("accuracy", "balanced_accuracy", "auroc")


def test_accuracy_by_subtype_is_counted(full):
    run, page, _, _ = full
    predicted = run.store.read_table("models/true_0/predictions.parquet").to_pandas()
    predicted = predicted[predicted["split"] == "test"].merge(run.manifest()[["image_id", "subtype"]], on="image_id")
    said = 1 / (1 + np.exp(-np.array([row[0] for row in predicted["logits"]], dtype=np.float64)))
    right = (said >= run.model_record("true_0")["threshold"]) == (predicted["label"] == 1)
    expected = {
        "NORMAL": right[predicted["label"] == 0].mean(),
        EVIL: right[(predicted["label"] == 1) & predicted["subtype"].isna()].mean(),
        f"{EVIL}, virus": right[predicted["subtype"] == "virus"].mean(),
    }
    rows = {row[2]: row[4] for row in page.tables["subtypes"][1:] if row[0] == "true_0"}
    assert rows == {name: shown(value) for name, value in expected.items()}


def test_counts_and_files(full):
    run, page, text, counts = full
    cases = [one for one in page.of("article") if "case" in one["class"]]
    assert counts["images"] == len(cases) == len(selection.choose(Source(run)))
    assert counts["bytes"] == len(text.encode())
    names = {Path(name).name for name in run.store.files("report/figures")}
    assert {"roc.svg", "similarity_grad_cam.svg", "counts.csv", "models_integrated_gradients.svg"} <= names
    assert counts["figures"] == sum(name.endswith((".svg", ".png")) for name in names)
    assert all(row[0] != row[1] for row in page.tables["counts"])


def test_a_second_build_gives_the_same_page(pair):
    run, _, text, _ = pair
    report.run(run.job, run, None)
    assert run.store.read_bytes("report/index.html").decode() == text


# ---------------------------------------------------------------------------------------------------------- other runs


def test_one_true_and_one_random_variant(pair):
    _, page, _, _ = pair
    row = page.tables["verdict"][1]
    assert row[1:3] == ["inconclusive", parts.MISSING]
    assert any("no TT" in line for line in page.text)
    assert "This run cannot tell" in " ".join(page.text)


def test_several_classes_and_a_moved_image_folder(many):
    run, page, text, _ = many
    assert any("drawn for two classes only" in line for line in page.text)
    assert any(line.startswith("The images cannot be shown: ") for line in page.text)
    assert run.path not in text.replace(run.job.data.root, "")
    assert ".film-0 {" not in text
    assert "roc.svg" not in {Path(name).name for name in run.store.files("report/figures")}


# --------------------------------------------------------------------------------------------------------- small parts


def test_number():
    assert parts.number(0.12345) == "0.123"
    assert parts.number(-0.5) == "−0.500"
    assert parts.number(-0.0004) == "−0.0004"
    assert parts.number(0.0) == "0.000"
    assert parts.number(7) == "7"
    assert parts.number(float("nan")) == parts.number(None) == "–"
    assert parts.listed(["a", "b", "c"]) == "a, b and c"
    assert parts.method_name("grad_cam") == "Grad-CAM"
    assert parts.method_name("my.module:function") == "my.module:function"


def test_operating_points():
    scores_N, positive_N = np.array([0.9, 0.8, 0.8, 0.1]), np.array([True, True, False, False])
    hits_T, false_T = training_figures.operating_points(scores_N, positive_N)
    assert hits_T.tolist() == [1, 2, 2]
    assert false_T.tolist() == [0, 1, 2]
    area = np.trapezoid([0, *hits_T / 2], [0, *false_T / 2])
    assert area == classification.auroc(scores_N, positive_N) == 0.875


def decoded(uri: str) -> np.ndarray:
    image = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
    return np.asarray(image.convert("RGB"))


def test_signed_layers_are_white_at_zero_and_clipped():
    map_HW = np.array([[0.0, 1.0], [-1.0, 5.0]])
    colours = decoded(overlays.layer(map_HW, 1.0, overlays.DIVERGING, 8))
    assert colours[0, 0].min() > 240
    assert colours[0, 1].tolist() == colours[1, 1].tolist() == [103, 0, 31]  # the ends of ColorBrewer's RdBu
    assert colours[1, 0].tolist() == [5, 48, 97]


def test_magnitude_layers_start_black_and_large_maps_are_averaged():
    map_HW = np.zeros((4, 4))
    map_HW[:2, :2] = [[2.0, 0.0], [0.0, 2.0]]
    colours = decoded(overlays.layer(map_HW, 1.0, overlays.SEQUENTIAL, 2))
    assert colours.shape == (2, 2, 3)
    assert colours[1, 1].tolist() == [0, 0, 4]  # inferno from its first colour to its last
    assert colours[0, 0].tolist() == [252, 255, 164]


def test_images_are_chosen_by_the_rules_named(full):
    run, _, _, _ = full
    source = Source(run)
    chosen = selection.choose(source)
    scores, primary = run.scores(), run.verdict["primary"]
    for key in ("view", "scale", "metric"):
        scores = scores[scores[key] == primary[key]]
    scores = scores[(scores["kind"] == "true_random") & (scores["method"] == "grad_cam")]
    means = scores.groupby("image_id")["score"].mean().sort_values()
    least = [i for i, rules in chosen.items() if "Grad-CAM: true and random maps least alike" in rules]
    most = [i for i, rules in chosen.items() if "Grad-CAM: true and random maps most alike" in rules]
    assert sorted(least) == sorted(means.index[:4])
    assert sorted(most) == sorted(means.index[-4:])


def test_scores_below_a_map_are_means_over_true_variants(full):
    run, _, _, _ = full
    source = Source(run)
    image_id = source.attributed["image_id"][0].as_py()
    found = gallery._mean_scores(source.scores_of([image_id]), source.true)
    rows = run.scores().query("image_id == @image_id and method == 'grad_cam' and view == 'signed'")
    rows = rows.query("scale == 'pixel' and metric == 'pearson'")
    test = rows[(rows["kind"] == "true_random") & (rows["variant_b"] == "random_100")]["score"]
    ceiling = rows[rows["kind"] == "true_true"]["score"]
    assert found[image_id, "grad_cam", "random_100"]["signed", "pixel", "pearson"] == pytest.approx(test.mean())
    assert found[image_id, "grad_cam", "true_1"]["signed", "pixel", "pearson"] == pytest.approx(ceiling.mean())
