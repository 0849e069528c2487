"""Boxes and masks of every generated set, from its files through `data check` and the index to the truth of a map."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.tiny import tiny_job
from PIL import Image

from pneumo_batch import cli, pipeline
from pneumo_batch.core.attribution import localisation
from pneumo_batch.core.data import runs
from pneumo_batch.core.data.images import Preprocess
from pneumo_batch.core.data.phantom import published
from pneumo_batch.core.data.regions.truth import Truths
from pneumo_batch.core.similarity import metrics
from pneumo_batch.errors import DataError, JobError
from pneumo_batch.rundir import verification

SIZE = 64
# Of each format the finding that is explained, as the generator and as the set calls it.
FORMATS = {
    "nih": ("opacity", "Infiltration"),
    "chexpert": ("opacity", "Lung Opacity"),
    "vindr": ("enlarged heart", "Cardiomegaly"),
    "rsna": ("opacity", "Lung Opacity"),
    "siim": ("pneumothorax", "Pneumothorax"),
    "list": ("opacity", "opacity"),
}
COUNTS = {"siim": (9, 5), "rsna": (40, 16), "list": (60, 16)}


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """The folder of a generated set and what is known of its whole films by path, each format written once."""
    folder = tmp_path_factory.mktemp("sets")

    def of(form):
        train, test = COUNTS.get(form, (24, 10))
        if not (folder / form).exists():
            published.write(folder / form, form, train=train, test=test, seed=2, image_size=64)
        films = json.loads((folder / form / "truth.json").read_text())["films"]
        return folder / form, {film["path"]: film for film in films if film["state"] == "whole"}

    return of


def data_of(form, root, **fields):
    manifest = {"manifest": str(root / "films.csv")} if form == "list" else {"format": form}
    known = {"root": str(root), "findings": [FORMATS[form][1]], "image_size": SIZE, "max_bad": 0.2, "val_fraction": 0}
    return {**known, **manifest, "allow_leaks": True, **fields}


def expected(film, finding, whole):
    """The truth at the networks' resolution from what the generator knows: of masks, or of boxes drawn one by one."""
    shown = film["shown"][finding]
    height, width = shown["mask"]["size"]
    mask_HW = runs.mask_HW(shown["mask"]["counts"], height, width)
    if not whole:
        mask_HW = np.zeros((height, width), bool)
        for x, y, across, down in shown["boxes"]:
            mask_HW[y : y + down, x : x + across] = True
    return Preprocess(SIZE).fitted(Image.fromarray(np.uint8(255) * mask_HW)) > 127


EVERY = [
    ("nih", {}, False),
    ("rsna", {}, False),
    ("chexpert", {"splits": ["val"]}, True),
    ("siim", {}, True),
    ("list", {"regions": "boxes.csv"}, False),
    ("list", {"regions": "coco.json"}, True),
    ("list", {"regions": "masks"}, True),
]


@pytest.mark.parametrize(("form", "where", "whole"), EVERY, ids=lambda value: value if isinstance(value, str) else "")
def test_every_format_from_its_files_to_the_truth(generated, ray_cluster, tmp_path, capsys, form, where, whole):
    root, films = generated(form)
    regions = str(root / where["regions"]) if "regions" in where else "auto"
    job = tiny_job(
        data=data_of(form, root, regions=regions),
        train={"true_seeds": [], "random_seeds": []},
        attribution={"splits": where.get("splits", ["test"])},
    )
    run = pipeline.execute(job, str(tmp_path / "run"), until="index").run
    drawn, named = FORMATS[form]
    table, manifest = run.regions_table(), run.manifest_table()
    truths = Truths(table, manifest, named, Preprocess(SIZE))
    listed = set(manifest["image_id"].to_pylist())
    told = {"nih": lambda film: film["split"] == "test", "chexpert": lambda film: film["split"] == "test"}
    has = told.get(form, lambda film: True)
    shown = {path for path, film in films.items() if drawn in film["shown"] and path in listed and has(film)}
    assert shown
    assert set(truths.image_ids) == shown
    for path, mask_SS in zip(sorted(shown), truths.of(sorted(shown)), strict=True):
        assert np.array_equal(mask_SS, expected(films[path], drawn, whole))
    if regions == "auto":
        cli.cli.main(
            ["data", "check", str(root), "--format", form, "--finding", named, "--json"], standalone_mode=False
        )
        said = json.loads(capsys.readouterr().out)["regions"]
        rows = [row for row in table.to_pylist() if row["finding"] == named]
        assert f"{named}: {len(rows)} boxes or masks on {len(shown)} films" in said
    events = map(json.loads, (tmp_path / "run/events.jsonl").read_text().splitlines())
    assert not any("boxes or masks" in event["message"] for event in events if event["event"] == "warning")


def test_several_readers_are_one_truth(generated, ray_cluster, tmp_path):
    root, films = generated("vindr")
    job = tiny_job(data=data_of("vindr", root), train={"true_seeds": [], "random_seeds": []})
    run = pipeline.execute(job, str(tmp_path / "run"), until="index").run
    rows = run.regions()
    assert rows["reader"].str.fullmatch(r"R\d+").all()
    truths = Truths(run.regions_table(), run.manifest_table(), "Cardiomegaly", Preprocess(SIZE))
    for image_id, mask_SS in zip(truths.image_ids, truths.of(truths.image_ids), strict=True):
        film = run.manifest().set_index("image_id").loc[image_id]
        canvas = np.zeros((film["height"], film["width"]), np.uint8)
        for row in rows[(rows["image_id"] == image_id) & (rows["finding"] == "Cardiomegaly")].itertuples():
            canvas[int(row.y) : int(row.y + row.height), int(row.x) : int(row.x + row.width)] = 255
        assert np.array_equal(mask_SS, Preprocess(SIZE).fitted(Image.fromarray(canvas)) > 127)
        assert (mask_SS >= expected(films[image_id], "enlarged heart", whole=False)).all()  # the first reader's


@pytest.fixture(scope="module")
def run(generated, ray_cluster, tmp_path_factory):
    root, _ = generated("rsna")
    job = tiny_job(data=data_of("rsna", root), attribution={"integrated_gradients": {"steps": 4}})
    outcome = pipeline.execute(job, str(tmp_path_factory.mktemp("rsna") / "run"))
    assert outcome.complete
    return outcome.run


def test_a_run_measures_the_films_that_show_the_finding(run, generated):
    _, films = generated("rsna")
    manifest = run.manifest().set_index("image_id")
    tested = {path for path in manifest.index if manifest.loc[path, "split"] == "test"}
    shown = {path for path in tested if "opacity" in films[path]["shown"]}
    rows = run.localisation()
    assert len(shown) > 1
    assert set(rows["image_id"]) == shown
    assert set(rows["variant"]) == {"true_0", "true_1", "random_100", "cross_image", "mean_mask", "edge"}
    ids, maps_Nhw = run.maps("grad_cam", "true_0")
    for path in shown:
        map_SS = metrics.resize(maps_Nhw[ids.index(path)][None], SIZE)[0]
        mask_SS = expected(films[path], "opacity", whole=False)
        found = rows[(rows["image_id"] == path) & (rows["method"] == "grad_cam") & (rows["variant"] == "true_0")]
        by_measure = dict(zip(found["measure"], found["value"], strict=True))
        assert by_measure["auprc"] == localisation.average_precision(map_SS, mask_SS)
        assert by_measure["hit"] == localisation.points_inside(map_SS, mask_SS)


def test_the_verdict_has_means_baselines_and_differences(run):
    rows, found = run.localisation(), run.verdict["localisation"]
    (one,) = found["findings"].values()
    means = rows.groupby(["method", "variant", "measure"], dropna=False)["value"].mean()
    for method, by_name in one["methods"].items():
        for name, measures in by_name.items():
            for measure, value in measures.items():
                if value["mean"] is not None:
                    assert value["mean"] == pytest.approx(means[method, name, measure])
                    assert value["ci_low"] <= value["mean"] <= value["ci_high"]
    assert one["mean_mask_of"] == "training films"
    assert set(one["baselines"]) == {"mean_mask", "edge"}
    true = rows[(rows["method"] == "grad_cam") & rows["variant"].isin(["true_0", "true_1"])]
    random = rows[(rows["method"] == "grad_cam") & (rows["variant"] == "random_100")]
    paired = (
        true.groupby(["image_id", "measure"])["value"].mean() - random.set_index(["image_id", "measure"])["value"]
    ).xs("auprc", level="measure")
    assert one["differences"]["grad_cam"]["random"]["auprc"]["mean"] == pytest.approx(paired.mean())
    assert found["methods"]["grad_cam"]["true_0"]["auprc"] == one["methods"]["grad_cam"]["true_0"]["auprc"]["mean"]


def test_the_report_shows_it_and_every_file_is_accounted_for(run):
    page = run.store.read_bytes("report/index.html").decode()
    assert "Localisation: do maps point at Lung Opacity?" in page
    assert run.store.exists("report/figures/localisation_films_lung_opacity.png")
    assert verification.verify(run).findings == []


def test_regions_of_ones_own_that_cannot_be_are_refused_before_anything_is_done(generated, tmp_path):
    root, _ = generated("list")
    boxes = Path(tmp_path, "boxes.csv")
    boxes.write_text("path,finding,x,y,width,height\nfilms/nobody.png,opacity,1,2,wide,4\n")
    with pytest.raises(DataError, match=r"boxes.csv row 1: width 'wide': must be a number$"):
        pipeline.execute(tiny_job(data=data_of("list", root, regions=str(boxes))), str(tmp_path / "run"))
    with pytest.raises(JobError, match=r"^data.regions: cannot read .*nowhere.csv: No such file or directory$"):
        pipeline.execute(tiny_job(data=data_of("list", root, regions="nowhere.csv")), str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("films/nobody.png,opacity,1,2,3,4", "none of its 1 boxes or masks is on an image of the job"),
        ("{film},fracture,1,2,3,4", "is of fracture; the job's findings are NORMAL, opacity"),
    ],
)
def test_data_check_refuses_regions_of_other_films_or_findings(generated, tmp_path, text, line):
    root, films = generated("list")
    film = next(path for path, one in films.items() if one["view"] != "LATERAL")
    boxes = tmp_path / "boxes.csv"
    boxes.write_text(f"path,finding,x,y,width,height\n{text.format(film=film)}\n")
    films_csv = str(root / "films.csv")
    asked = ["data", "check", str(root), "--manifest", films_csv, "--finding", "opacity", "--regions", str(boxes)]
    with pytest.raises(DataError, match=line):
        cli.cli.main(asked, standalone_mode=False)
