"""The report of a run whose films have boxes: numbers are those of verdict.json, films are drawn with them outlined."""

import io

import numpy as np
from helpers.report_runs import EVIL, shown
from PIL import Image

from pneumo_batch.report.parts import slug


def cell(one):
    return f"{shown(one['mean'])} ({shown(one['ci_low'])} to {shown(one['ci_high'])})"


def test_means_and_differences_are_those_of_the_verdict(full):
    run, page, _, _ = full
    found = run.verdict["localisation"]["findings"][EVIL]
    header, *rows = page.tables[f"localisation_{slug(EVIL)}"]
    by_name = {row[0]: dict(zip(header[1:], row[1:], strict=True)) for row in rows}
    true = found["kinds"]["grad_cam"]["true"]
    assert by_name["Grad-CAM, true models"] == {
        "highest value inside": cell(true["hit"]),
        "AUPRC": cell(true["auprc"]),
        "IoU": cell(true["iou"]),
        "positive share inside": cell(true["positive_share"]),
    }
    assert by_name["mean mask"]["AUPRC"] == cell(found["baselines"]["mean_mask"]["auprc"])
    assert by_name["Grad-CAM, random_100"]["AUPRC"] == cell(found["methods"]["grad_cam"]["random_100"]["auprc"])
    header, *rows = page.tables[f"localisation_differences_{slug(EVIL)}"]
    less = found["differences"]["integrated_gradients"]
    assert ["Integrated Gradients", "random models", cell(less["random"]["hit"])] in [row[:3] for row in rows]
    assert [row[1] for row in rows if row[0] == "Grad-CAM"] == [
        "random models",
        "mean mask",
        "edges of the film",
        "true models, another film",
    ]


def test_films_are_drawn_with_the_finding_outlined(full):
    run, page, _, _ = full
    picture = run.store.read_bytes(f"report/figures/localisation_films_{slug(EVIL)}.png")
    with Image.open(io.BytesIO(picture)) as image:
        pixels_HW3 = np.asarray(image.convert("RGB")).astype(int)
    greenish = (pixels_HW3[..., 1] > 180) & (pixels_HW3[..., 0] < 90) & (pixels_HW3[..., 2] > 120)
    assert greenish.sum() > 4 * 5 * 20  # four films, five pictures each, an outline in every one
    assert any("outlined, and their signed maps" in one.get("alt", "") for one in page.of("img"))


def test_a_run_without_regions_says_nothing_of_them(few):
    _, page, text, _ = few
    assert not any(name.startswith("localisation") for name in page.tables)
    assert "Localisation" not in text
