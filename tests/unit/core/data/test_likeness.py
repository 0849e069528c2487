"""Copies of films: what a hash of their content finds, and what it must not."""

import io

import numpy as np
import pandas as pd
import pytest
from helpers import paths
from PIL import Image
from scipy.ndimage import gaussian_filter

from pneumo_batch.core.data import images, likeness
from pneumo_batch.errors import RejectedImage


def film(seed, shape=(400, 500)):
    """Smooth shapes and noise, 0 to 255."""
    rng = np.random.default_rng(seed)
    values_HW = gaussian_filter(rng.normal(size=shape), 30) * 30 + gaussian_filter(rng.normal(size=shape), 6) * 4
    return Image.fromarray(np.clip(128 + 60 * values_HW + rng.normal(0, 3, shape), 0, 255).astype(np.uint8))


def encoded(image, form="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def row(image_id, data):
    info = images.inspect(data)
    return {
        "image_id": image_id,
        "split": image_id.split("/")[0],
        "sha256": str(hash(data)),
        "gray_low": info.look.low,
        "gray_high": info.look.high,
        "cells": info.look.cells,
        "hash": info.hash,
    }


def found(rows, split="test", other="train"):
    return [(copy.first, copy.second) for copy in likeness.copies(pd.DataFrame(rows), split, other)]


COPIES = {
    "smaller": lambda image: encoded(image.resize((250, 200), Image.Resampling.BILINEAR)),
    "larger": lambda image: encoded(image.resize((900, 720), Image.Resampling.BICUBIC)),
    "squashed": lambda image: encoded(image.resize((224, 224), Image.Resampling.LANCZOS)),
    "JPEG": lambda image: encoded(image, "JPEG", quality=40),
    "small JPEG": lambda image: encoded(image.resize((200, 160)), "JPEG", quality=75),
    "darker": lambda image: encoded(image.point(lambda value: value * 0.7 + 10)),
    "colour": lambda image: encoded(image.convert("RGB"), "WEBP", quality=80),
}


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_is_found_and_another_film_is_not(kind):
    films = [film(seed) for seed in range(8)]
    rows = [row(f"train/{k}", encoded(image)) for k, image in enumerate(films)]
    rows += [row(f"test/{k}", COPIES[kind](films[k])) for k in (2, 5)]
    rows += [row(f"test/{seed}", encoded(film(seed))) for seed in (20, 21)]
    assert found(rows) == [("test/2", "train/2"), ("test/5", "train/5")]
    assert found(rows, "val", "train") == []


def test_byte_identical_films_are_told_elsewhere_and_constant_ones_show_nothing():
    same = encoded(film(0))
    rows = [row("train/a", same), row("test/a", same)]
    rows += [row("train/b", encoded(Image.new("L", (50, 40), 9))), row("test/b", encoded(Image.new("L", (60, 40), 9)))]
    assert found(rows) == []


def test_films_of_older_runs_have_no_hash():
    rows = pd.DataFrame([row("train/a", encoded(film(0))), row("test/a", encoded(film(0, (300, 375))))])
    assert likeness.copies(rows.assign(hash=None), "test", "train") == []


def test_pairs_are_those_that_comparing_each_with_each_finds():
    """2000 and 500 hashes, some of them near others; cells agree in part."""
    rng = np.random.default_rng(0)
    bits_NB = rng.integers(0, 2, (2500, 256), np.uint8)
    cells_NC = rng.integers(0, 256, (2500, 64), np.uint8)
    for k in range(120):
        bits_NB[2000 + k] = bits_NB[k]
        flipped = rng.choice(256, k % 30, replace=False)
        bits_NB[2000 + k, flipped] ^= 1
        if k % 3:
            cells_NC[2000 + k] = cells_NC[k]
    rows = pd.DataFrame(
        {
            "image_id": [f"{k:04}" for k in range(2500)],
            "split": ["train"] * 2000 + ["test"] * 500,
            "sha256": [str(k) for k in range(2500)],
            "gray_low": 0,
            "gray_high": 255,
            "cells": [cells.tobytes() for cells in cells_NC],
            "hash": [np.packbits(bits).tobytes() for bits in bits_NB],
        }
    )
    distance = (bits_NB[2000:, None] != bits_NB[None, :2000]).sum(axis=2)
    agree = np.corrcoef(cells_NC)[2000:, :2000] >= 0.99
    expected = {(2000 + a, b) for a, b in zip(*np.nonzero((distance <= 14) & agree), strict=True)}
    allowed = {(2000 + a, b) for a, b in zip(*np.nonzero((distance <= 20) & agree), strict=True)}
    pairs = likeness.copies(rows, "test", "train")
    assert expected <= {(int(copy.first), int(copy.second)) for copy in pairs} <= allowed
    assert all(copy.bits == distance[int(copy.first) - 2000, int(copy.second)] for copy in pairs)


def test_one_film_many_times_does_not_take_long():
    hashes = np.tile(np.frombuffer(images.inspect(encoded(film(0))).hash, np.uint8), (300, 1))
    a, _, bits = likeness._near(hashes, hashes)
    assert set(a) == set(range(300))
    assert (bits == 0).all()


def test_published_originals_are_found_among_what_a_third_party_made_of_them():
    """56 films in their own sizes against those films and 200 others, squashed to 224 x 224 and stored anew."""
    originals, squashed = paths.REAL / "kermany-original", paths.REAL / "kermany224"
    if not squashed.is_dir() or not originals.is_dir():
        pytest.skip("the published films are not here")
    names = {path.name: path for path in sorted(squashed.rglob("*.jpeg"))}
    mine = {path.name: path for path in sorted(originals.rglob("*.jpeg"))}
    others = [name for name in names if name not in mine][::29]
    rows = [row(f"test/{name}", path.read_bytes()) for name, path in mine.items()]
    rows += [row(f"train/{name}", names[name].read_bytes()) for name in (*mine, *others)]
    assert len(mine) == 56
    assert len(others) > 190
    assert {(first[5:], second[6:]) for first, second in found(rows)} == {(name, name) for name in mine}


def test_what_cannot_be_read_has_no_hash():
    with pytest.raises(RejectedImage):
        images.inspect(b"")
