"""Films that look odd beside the rest: values solved by hand, published films, and generated ones."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pneumo_batch.core.data import images, looks, phantom
from pneumo_batch.core.data.looks import Look

GRADIENT_HW = np.add.outer(np.arange(128), np.zeros(128)).astype(np.uint8)  # row k has the value k


def look_of(values_HW):
    return Look.of(Image.fromarray(np.asarray(values_HW, np.uint8)))


def films(*specification):
    """Manifest columns from (image_id, class, look)."""
    rows = [
        {"image_id": image_id, "class_name": name, "gray_low": look.low, "gray_high": look.high, "cells": look.cells}
        for image_id, name, look in specification
    ]
    return pd.DataFrame(rows)


def test_a_look_by_hand():
    # 64 points a side of the even or odd rows; a hundredth of 4096 points is 40, less than the 64 of the first row
    look = look_of(GRADIENT_HW)
    assert look.low in (0, 1)
    assert look.high in (126, 127)
    cells_88 = np.frombuffer(look.cells, np.uint8).reshape(8, 8)
    np.testing.assert_allclose(cells_88, np.repeat(np.arange(7.5, 128, 16)[:, None], 8, 1), atol=1)


def test_a_spot_is_no_range():
    values_HW = np.full((64, 64), 7)
    values_HW[:6, :6] = 255  # 36 of 4096 points
    assert (look_of(values_HW).low, look_of(values_HW).high) == (7, 7)


def test_films_that_use_a_small_part_of_their_range_are_warned_of():
    """12 bits in files of 16, v / 257: 4095 becomes 16 of 255."""
    narrow = look_of(np.rint(np.linspace(0, 4095, 64 * 64).reshape(64, 64) / 257))
    whole = look_of(np.linspace(0, 255, 64 * 64).reshape(64, 64))
    (warning,) = looks.warnings(films(("a", "A", narrow), ("b", "B", whole)))
    assert warning == (
        "a small part of the range is used by 1 of 2 images, such as a: gray 0 to 16 of 255; 6 % of the range, as where"
        " the upper 4 bits are never used"
    )


def test_films_that_are_nearly_constant_are_warned_of():
    (warning,) = looks.warnings(
        films(("a", "A", look_of(np.full((64, 64), 200))), ("b", "A", look_of(2 * GRADIENT_HW)))
    )
    assert warning == "nearly constant: 1 of 2 images, such as a: gray 200 to 200 of 255"


def test_an_inverted_film_stands_out_of_its_class():
    whole = look_of(2 * GRADIENT_HW)
    turned = look_of(255 - 2 * GRADIENT_HW)
    of_class = [(f"a{k}", "A", whole) for k in range(7)]
    (warning,) = looks.warnings(films(*of_class, ("odd", "A", turned)))
    assert warning == ("1 of 8 A images look inverted beside the rest of their class (black for white), such as odd")
    assert list(looks.warnings(films(*of_class[:6], ("odd", "A", turned)))) == []  # too few to tell


def test_a_class_of_negatives_stands_out_of_the_others():
    whole, turned = look_of(2 * GRADIENT_HW), look_of(255 - 2 * GRADIENT_HW)
    rows = [(f"a{k}", "A", whole) for k in range(8)] + [(f"b{k}", "B", turned) for k in range(8)]
    (warning,) = looks.warnings(films(*rows))
    assert warning == "the images of A look inverted beside those of B (black for white): that tells the class"


def test_a_manifest_without_looks_tells_nothing():
    older = films(("a", "A", look_of(np.zeros((64, 64))))).assign(gray_low=None, gray_high=None, cells=None)
    assert list(looks.warnings(older)) == []


# -------------------------------------------------------------------------------------- nothing is said of sound films


def looks_below(root, every=1):
    paths = sorted(path for path in root.rglob("*.jpeg") if "masks" not in path.parts)[::every]
    return films(*((str(path), path.parent.name, images.inspect(path.read_bytes()).look) for path in paths))


@pytest.mark.parametrize("size", [64, 256])
def test_generated_films_are_sound(size, tmp_path):
    phantom.write(tmp_path / "films", train=40, test=8, seed=1, image_size=size)
    assert list(looks.warnings(looks_below(tmp_path / "films"))) == []


def test_published_films_are_sound_and_their_negatives_are_not(kermany, kermany_original):
    sound = pd.concat([looks_below(kermany, every=10), looks_below(kermany_original)])
    assert list(looks.warnings(sound)) == []
    spoilt = sound.reset_index(drop=True)
    cells_NC = np.frombuffer(b"".join(spoilt["cells"]), np.uint8).reshape(len(spoilt), -1)
    chosen = spoilt.index[::50]
    spoilt.loc[chosen, "cells"] = [(255 - cells_NC[k]).tobytes() for k in chosen]
    counts = spoilt.loc[chosen, "class_name"].value_counts()
    found = list(looks.warnings(spoilt))
    for name, count in counts.items():
        assert [line for line in found if line.startswith(f"{count} of {(spoilt['class_name'] == name).sum()} {name} ")]


@pytest.mark.slow
def test_every_published_film_is_sound(kermany):
    assert list(looks.warnings(looks_below(kermany))) == []


def test_a_film_of_12_bits_in_16_is_told_as_such():
    values_HW = np.linspace(38, 210, 64 * 64).reshape(64, 64) / 255 * 4095
    stream = io.BytesIO()
    Image.fromarray(values_HW.astype(np.uint16)).save(stream, "PNG")
    look = images.inspect(stream.getvalue()).look
    (warning,) = looks.warnings(films(("a", "A", look)))
    assert warning.endswith("gray 2 to 13 of 255; 6 % of the range, as where the upper 4 bits are never used")


def test_the_median_film_is_that_of_films_less_their_means():
    cells_NC = np.random.default_rng(0).integers(0, 256, (101, 64), dtype=np.uint8)
    centred_NC = cells_NC - cells_NC.mean(axis=1, keepdims=True)

    np.testing.assert_array_equal(looks._median(cells_NC), np.median(centred_NC, axis=0))
    np.testing.assert_array_equal(looks._median(cells_NC[:100]), np.median(centred_NC[:100], axis=0))
