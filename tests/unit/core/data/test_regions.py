"""Boxes and masks: what each kind of file says, what is refused in a line, and the truth at a network's resolution."""

import io
import json

import numpy as np
import pyarrow as pa
import pytest
from helpers import mutated_films
from helpers import published_sets as sets
from PIL import Image
from pyarrow import fs as pafs

from pneumo_batch.core import tables
from pneumo_batch.core.data import runs
from pneumo_batch.core.data.formats.label_files import Download
from pneumo_batch.core.data.images import Preprocess
from pneumo_batch.core.data.phantom import published as phantoms
from pneumo_batch.core.data.regions import sources, table, truth
from pneumo_batch.core.data.regions.outlines import Box
from pneumo_batch.core.data.regions.shapes import of_box, of_png, of_polygons, png
from pneumo_batch.core.data.regions.truth import Region
from pneumo_batch.core.data.roots import Root
from pneumo_batch.errors import DataError

LOCAL = pafs.LocalFileSystem()


def manifest(films, labels=()):
    """Rows of images by id: (width, height, class)."""
    rows = [
        {
            "image_id": image_id,
            "width": width,
            "height": height,
            "class_name": name,
            "label": 0,
            "split": "test",
            "patient_id": image_id,
            "mode": "L",
            "bytes": 1,
            "sha256": "",
        }
        for image_id, (width, height, name) in films.items()
    ]
    return pa.Table.from_pylist(rows, schema=tables.with_labels(tables.MANIFEST, labels))


def built(source, films, labels=()):
    return table.build(source.found(list(films)), manifest(films, labels))


def rows_of(source, films, labels=()):
    return built(source, films, labels).table.to_pylist()


def of_set(form, root):
    return sources.in_set(form, Download.of(Root(LOCAL, str(root))))


# ------------------------------------------------------------------------------------------------------ published sets


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """A generated set and what is known of its films, by format."""
    folder = tmp_path_factory.mktemp("generated")

    def of(form, train=14, test=10):
        if not (folder / form).exists():
            phantoms.write(folder / form, form, train=train, test=test, seed=3, image_size=48)
        known = json.loads((folder / form / "truth.json").read_text())
        return folder / form, known["names"], [film for film in known["films"] if film["state"] == "whole"]

    return of


def sizes(films):
    """Of the films whose truth tells it."""
    shown = {film["path"]: next(iter(film["shown"].values()), None) for film in films}
    return {path: tuple(one["mask"]["size"][::-1]) if one else (48, 48) for path, one in shown.items()}


def expected_boxes(films, names, chosen):
    return sorted(
        (film["path"], names[finding], *map(float, box))
        for film in films
        if chosen(film)
        for finding, shown in film["shown"].items()
        if finding in names
        for box in shown["boxes"]
    )


@pytest.mark.parametrize(("form", "chosen"), [("nih", lambda film: film["split"] == "test"), ("rsna", bool)])
def test_boxes_of_generated_sets_are_where_the_findings_are(generated, form, chosen):
    root, names, films = generated(form)
    images = {path: (*size, "x") for path, size in sizes(films).items()}
    rows = rows_of(of_set(form, root), images)
    found = sorted((row["image_id"], row["finding"], *(row[side] for side in Box._fields)) for row in rows)
    assert found == expected_boxes(films, names, chosen)
    assert {row["shape"] for row in rows} == {"box"}


def test_boxes_of_several_readers_keep_who_drew_them(generated):
    root, names, films = generated("vindr")
    images = {path: (*size, "x") for path, size in sizes(films).items()}
    rows = rows_of(of_set("vindr", root), images)
    assert all(row["reader"].startswith("R") for row in rows)
    ours = [film for film in films if film["shown"]]
    for film in ours:
        mine = [row for row in rows if row["image_id"] == film["path"]]
        # the first reader drew exactly what is there, in the order of the generator
        exact = expected_boxes([film], names, bool)
        drawn = {(row["image_id"], row["finding"], *(row[side] for side in Box._fields)) for row in mine}
        assert set(exact) <= drawn
        assert len({row["reader"] for row in mine}) >= 1


def union(rows, finding, shape):
    masks = [of_png(row["mask"]) for row in rows if row["finding"] == finding]
    return np.any(masks, axis=0) if masks else np.zeros(shape, bool)


@pytest.mark.parametrize("form", ["siim", "chexpert"])
def test_masks_of_generated_sets_are_where_the_findings_are(generated, form):
    """Of SIIM the rows of a film are joined; CheXlocalize outlines the films of `valid`, which here are the test."""
    root, names, films = generated(form, *((5, 4) if form == "siim" else ()))
    images = {path: (*size, "x") for path, size in sizes(films).items()}
    rows = rows_of(of_set(form, root), images)
    assert {row["shape"] for row in rows} == {"mask"}
    compared = 0
    for film in films:
        mine = [row for row in rows if row["image_id"] == film["path"]]
        outlined = form == "siim" or film["split"] == "test"
        for finding, shown in film["shown"].items():
            if finding in names and outlined:
                height, width = shown["mask"]["size"]
                expected = runs.mask_HW(shown["mask"]["counts"], height, width)
                assert np.array_equal(union(mine, names[finding], (height, width)), expected)
                compared += 1
        if not outlined:
            assert mine == []
    assert compared > 1


def test_a_set_without_regions_has_none(generated, tmp_path):
    assert of_set("padchest", sets.padchest(tmp_path)) is None
    root = sets.nih(tmp_path / "nih")
    (root / "BBox_List_2017.csv").unlink()
    assert of_set("nih", root) is None


def test_a_mask_of_several_rows_is_joined_in_the_truth(tmp_path):
    source = of_set("siim", sets.siim(tmp_path))
    film = "dicom-images-train/9.0/8.0/1.2.3.1.dcm"
    rows = rows_of(source, {film: (1024, 1024, "Pneumothorax")})
    assert [row["shape"] for row in rows] == ["mask", "mask"]
    found = truth.mask([Region(None, row["mask"]) for row in rows], 1024, 1024, Preprocess(1024))
    expected = np.zeros((1024, 1024), bool)  # by hand: columns of 1024, the gap counts from the end of the last run
    expected[[1, 2], 0] = expected[0, 2] = True
    expected[[1, 2, 3], 1] = True
    assert np.array_equal(found, expected)


BAD_SETS = [
    ("nih", "BBox_List_2017.csv", "Infiltrate,", "Flu,", "row 1: finding 'Flu': no such finding"),
    ("nih", "BBox_List_2017.csv", "Infiltrate,225.08", "Infiltrate,wide", "row 1: x 'wide': must be a number"),
    ("nih", "BBox_List_2017.csv", "10,20,30,40", "10,20,0,40", "row 3: width 0: must be above 0"),
    ("vindr", "train.csv", "10.0,20,30,60", "10.0,20,10,60", "row 1: width 0: must be above 0"),
]


@pytest.mark.parametrize(("form", "name", "old", "new", "line"), BAD_SETS)
def test_a_box_that_cannot_be_is_refused_by_file_row_and_column(tmp_path, form, name, old, new, line):
    path = sets.WRITERS[form](tmp_path) / name
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(DataError) as error:
        list(of_set(form, tmp_path).found([]).outlines)
    assert str(error.value) == f"{name} {line}"


COPIED = {
    "nih": ("images_001/images/00000002_000.png", [225.08, 547.5, 86.5, 79.25]),
    "rsna": ("stage_2_train_images/0a01.dcm", [264, 152, 213, 379]),
}


@pytest.mark.parametrize("form", COPIED)
@pytest.mark.parametrize("side", [1024, 512, 224, 2048])
def test_boxes_drawn_at_1024_pixels_are_where_they_were_in_a_copy_of_any_size(tmp_path, form, side):
    film, expected = COPIED[form]
    first, *_ = rows_of(of_set(form, sets.WRITERS[form](tmp_path)), {film: (side, side, "x")})
    assert [first[name] for name in Box._fields] == pytest.approx([side / 1024 * one for one in expected], rel=1e-12)


def test_boxes_drawn_at_1024_pixels_are_of_no_film_of_another_shape(tmp_path):
    with pytest.raises(table.UnfitError) as error:
        built(of_set("nih", sets.nih(tmp_path)), {"images_001/images/00000002_000.png": (512, 400, "Pneumonia")})
    assert str(error.value) == (
        "BBox_List_2017.csv row 1: is of a film of 1024 x 1024 pixels, the image has 512 x 400: another shape"
    )


def test_boxes_of_a_larger_film_whose_size_is_not_known_do_not_fit_a_smaller_copy(tmp_path):
    with pytest.raises(table.UnfitError) as error:
        built(of_set("vindr", sets.vindr(tmp_path)), {"train/ab01.png": (16, 16, "Consolidation")})
    assert str(error.value) == (
        "train.csv row 1: the box goes from x 10 to 30, the image has 16 x 16 pixels: boxes are in pixels of the image"
        " as it is"
    )


# --------------------------------------------------------------------------------------------------- files of one's own

FILMS = {"a/1.png": (40, 30, "NORMAL"), "a/2.png": (30, 40, "MASS")}


def of_file(content, name="boxes.csv"):
    return sources.OfFile(name, content.encode() if isinstance(content, str) else json.dumps(content).encode())


def test_a_list_of_boxes():
    text = (
        "path,finding,x,y,width,height,reader\na/2.png,MASS,1,2,3.5,4,Ann\n2.png,MASS,0,0,30,40,\nb.png,MASS,1,1,1,1,\n"
    )
    found = built(of_file(text), FILMS)
    assert (found.listed, found.films) == (3, 3)
    assert found.lines() == [
        "3 boxes or masks on 3 films in all, 2 boxes or masks on 1 film here",
        "MASS: 2 boxes or masks on 1 film",
    ]
    assert str(table.Count(1, 1)) == "1 box or mask on 1 film"
    rows = found.table.to_pylist()
    assert [(row["image_id"], row["reader"], row["x"], row["width"]) for row in rows] == [
        ("a/2.png", "Ann", 1, 3.5),
        ("a/2.png", None, 0, 30),  # the last part of a path will do where it is of one film only
    ]


BAD_LISTS = [
    ("path,x,y,width,height\n", "boxes.csv: no column 'finding'"),
    ("path,finding,x,y,width,height\na/1.png,M,1,2,three,4\n", "boxes.csv row 1: width 'three': must be a number"),
    ("path,finding,x,y,width,height\na/1.png,M,1,2,3,4\n,M,1,2,3,4\n", "boxes.csv row 2: path '': must not be empty"),
    ("path,finding,x,y,width,height\na/1.png,M,1,,3,4\n", "boxes.csv row 1: y '': must not be empty"),
    ("path,finding,x,y,width,height\na/1.png,M,1,2,3,-4\n", "boxes.csv row 1: height -4: must be above 0"),
    (
        "path,finding,x,y,width,height\na/1.png,M,1,25,3,10\n",
        "boxes.csv row 1: the box goes from y 25 to 35, the image has 40 x 30 pixels: boxes are in pixels of the image"
        " as it is",
    ),
]


@pytest.mark.parametrize(("text", "line"), BAD_LISTS)
def test_a_list_of_boxes_is_refused_in_a_line(text, line):
    with pytest.raises(DataError) as error:
        built(of_file(text), FILMS)
    assert str(error.value) == line


def coco(*annotations, size=(30, 40)):
    images = [{"id": 7, "file_name": "2.png", "width": size[0], "height": size[1]}]
    numbered = [{"id": k, "image_id": 7, "category_id": 3, **one} for k, one in enumerate(annotations, start=1)]
    return {"images": images, "categories": [{"id": 3, "name": "MASS"}], "annotations": numbered}


def test_coco_boxes_polygons_and_run_lengths():
    counted = [2 * 40 + 1, 2, 40 * 28 - 3]  # of the third column the second and third pixel
    content = coco(
        {"bbox": [1, 2, 3, 4]},
        {"bbox": [0, 0, 1, 1], "segmentation": [[1, 1, 3, 1, 3, 4, 1, 4]]},
        {"segmentation": {"size": [40, 30], "counts": counted}},
        {"segmentation": {"size": [40, 30], "counts": runs.compressed(counted)}},
    )
    box, polygon, plain, compressed = rows_of(of_file(content, "coco.json"), FILMS)
    assert [box[side] for side in Box._fields] == [1, 2, 3, 4]
    square = np.zeros((40, 30), bool)
    square[1:4, 1:3] = True
    assert np.array_equal(of_png(polygon["mask"]), square)
    column = np.zeros((40, 30), bool)
    column[1:3, 2] = True
    assert np.array_equal(of_png(plain["mask"]), column)
    assert compressed["mask"] == plain["mask"]


def test_coco_of_a_larger_copy_of_the_film():
    (row,) = rows_of(of_file(coco({"bbox": [10, 20, 30, 40]}, size=(300, 400)), "coco.json"), FILMS)
    assert [row[side] for side in Box._fields] == [1, 2, 3, 4]
    with pytest.raises(table.UnfitError, match=r"^coco.json annotation 1: is of a film of 300 x 300 pixels, the image"):
        built(of_file(coco({"bbox": [10, 20, 30, 40]}, size=(300, 300)), "coco.json"), FILMS)


BAD_COCO = [
    ("{", "coco.json: not JSON: "),
    ("[]", "coco.json: not a COCO file: no list of images"),
    (coco({"image_id": 8}), "coco.json annotation 1: image_id 8: there is none with that id"),
    (coco({"bbox": [1, 2, 3]}), "coco.json annotation 1: bbox must be [x, y, width, height]"),
    (coco({"segmentation": [[1, 2, 3]]}), "coco.json annotation 1: a polygon must have three points or more, x and y"),
    (
        coco({"segmentation": {"size": [40, 30], "counts": [5]}}),
        "coco.json annotation 1: run lengths do not add up to 40 x 30 pixels",
    ),
    (
        coco({"segmentation": {"size": [40, 30], "counts": "~"}}),
        "coco.json annotation 1: '~' is no digit of run lengths",
    ),
]


@pytest.mark.parametrize(("content", "line"), BAD_COCO)
def test_coco_is_refused_in_a_line(content, line):
    with pytest.raises(DataError) as error:
        built(of_file(content, "coco.json"), FILMS)
    assert str(error.value).startswith(line)


def test_chexlocalize_as_run_lengths_and_as_the_polygons_they_were_made_of():
    name = "valid/patient64541/study1/view1_frontal.jpg"
    films = {f"CheXpert-v1.0-small/{name}": (20, 30, "x")}
    mask_HW = np.zeros((60, 40), bool)  # of the original film, twice as large
    mask_HW[10:30, 4:14] = True
    counts = runs.compressed(runs.counted(mask_HW))
    said = {"Airspace Opacity": {"size": [60, 40], "counts": counts}, "Edema": {"size": [60, 40], "counts": "P[2"}}
    key = "patient64541_study1_view1_frontal"
    (row,) = rows_of(of_file({key: said}, "gt_segmentations_val.json"), films)  # of edema no pixel
    assert row["finding"] == "Lung Opacity"
    corners = [[4, 10], [14, 10], [14, 30], [4, 30]]
    drawn = {"img_size": [60, 40], "Airspace Opacity": [corners], "Edema": []}
    (other,) = rows_of(of_file({key: drawn}, "gt_annotations_val.json"), films)
    for one in (row, other):
        assert np.array_equal(of_png(one["mask"]), mask_HW)


def mask_file(mask_HW, form="L"):
    stream = io.BytesIO()
    Image.fromarray(np.uint8(255) * mask_HW).convert(form).save(stream, "PNG")
    return stream.getvalue()


def test_a_folder_of_masks_by_film_and_by_finding(tmp_path):
    mask_HW = np.zeros((40, 30), bool)
    mask_HW[3, 4] = True
    for name in ("a/2.png", "EDEMA/a/2.png", "a/3.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(mask_file(mask_HW))
    (tmp_path / "a/1.png").write_bytes(mask_file(np.zeros((30, 40), bool), "RGB"))
    source = sources.OfFolder.of("masks", Root(LOCAL, str(tmp_path)))
    found = built(source, FILMS)
    rows = found.table.to_pylist()
    assert [(row["image_id"], row["finding"]) for row in rows] == [("a/2.png", "EDEMA"), ("a/2.png", "MASS")]
    assert np.array_equal(of_png(rows[0]["mask"]), mask_HW)
    assert found.empty == 1
    with pytest.raises(DataError, match=r"^masks/a/2.png: names no finding: with several, put the masks of each"):
        built(source, FILMS, ["Mass", "Edema"])


def test_a_mask_of_another_shape_or_that_is_none_is_refused(tmp_path):
    (tmp_path / "a").mkdir()
    source = sources.OfFolder("masks", Root(LOCAL, str(tmp_path)), {"a/1.png": 1})
    (tmp_path / "a/1.png").write_bytes(mask_file(np.ones((40, 30), bool)))
    with pytest.raises(DataError, match=r"^masks/a/1.png: is of a film of 30 x 40 pixels, the image has 40 x 30"):
        built(source, FILMS)
    (tmp_path / "a/1.png").write_bytes(b"\x89PNG nothing")
    with pytest.raises(DataError, match=r"^masks/a/1.png: "):
        built(source, FILMS)


INSIDE_HW = np.zeros((30, 40), bool)
INSIDE_HW[3:9, 4:20] = True


def stored(outside, inside, dtype, form="PNG"):
    return mutated_films.encoded(np.where(INSIDE_HW, inside, outside).astype(dtype), form)


def palette(*colours):
    stream, image = io.BytesIO(), Image.fromarray(INSIDE_HW.astype(np.uint8)).convert("P")
    image.putpalette([channel for colour in colours for channel in colour])
    image.save(stream, "PNG")
    return stream.getvalue()


def white_on_nothing():
    return mutated_films.encoded(np.dstack([np.full((30, 40, 3), 255), 255 * INSIDE_HW]).astype(np.uint8), "PNG")


MASKS = {
    "16 bits, 0 and 1": stored(0, 1, np.uint16),
    "16 bits, 2 and 60": stored(2, 60, np.uint16),
    "16 bits, 0 and 65535": stored(0, 65535, np.uint16),
    "32 bits, 0 and 1": stored(0, 1, np.int32, "TIFF"),
    "32 bits, 0 and 70000": stored(0, 70000, np.int32, "TIFF"),
    "float, 0 and a thousandth": stored(0, 0.001, np.float32, "TIFF"),
    "8 bits, 0 and 1": stored(0, 1, np.uint8),
    "8 bits, 2 and 60": stored(2, 60, np.uint8),
    "8 bits, 0 and 255": stored(0, 255, np.uint8),
    "1 bit": mask_file(INSIDE_HW, "1"),
    "RGB": mask_file(INSIDE_HW, "RGB"),
    "RGBA": white_on_nothing(),
    "palette of dark red": palette((0, 0, 0), (128, 0, 0)),
    "palette of the darkest blue": palette((0, 0, 0), (0, 0, 1)),
    "DICOM, 0 and 1": mutated_films.dicom(INSIDE_HW.astype(np.uint16), BitsStored=16, HighBit=15),
}


@pytest.mark.parametrize("name", MASKS)
def test_a_mask_is_read_by_its_values_as_they_are_stored(tmp_path, name):
    """Of 16 bits 1 is as good as black where a film is read, and a mask of 0 and 1 would be without a pixel."""
    (tmp_path / "1.png").write_bytes(MASKS[name])
    (row,) = rows_of(sources.OfFolder("masks", Root(LOCAL, str(tmp_path)), {"1.png": 1}), {"1.png": (40, 30, "MASS")})
    assert np.array_equal(of_png(row["mask"]), INSIDE_HW)


def test_a_mask_whose_values_no_film_could_have_is_refused(tmp_path):
    (tmp_path / "1.png").write_bytes(stored(0, 255, np.float32, "TIFF"))
    source = sources.OfFolder("masks", Root(LOCAL, str(tmp_path)), {"1.png": 1})
    with pytest.raises(DataError, match=r"^masks/1.png: pixel values from 0 to 255: expected 0 to 1$"):
        built(source, {"1.png": (40, 30, "MASS")})


# -------------------------------------------------------------------------------------------- at a network's resolution


def test_pixels_of_boxes_by_hand():
    assert np.argwhere(of_box(Box(1, 0, 2, 1), 2, 4)).tolist() == [[0, 1], [0, 2]]
    assert np.argwhere(of_box(Box(1.6, 0.4, 1, 1), 2, 4)).tolist() == [[0, 2]]  # 1.6 to 2.6: the third column's centre
    assert np.argwhere(of_box(Box(3.2, 1.1, 0.1, 0.1), 2, 4)).tolist() == [[1, 3]]  # never nothing
    assert of_box(Box(-1, -1, 6, 4), 2, 4).all()


def test_a_pixel_is_in_a_polygon_by_its_centre():
    triangle = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
    assert of_polygons([triangle], 4, 4).sum(axis=1).tolist() in ([3, 2, 1, 0], [4, 3, 2, 1])  # on the edge: either


def test_a_mask_survives_its_file():
    mask_HW = np.random.default_rng(0).random((13, 7)) < 0.5
    assert np.array_equal(of_png(png(mask_HW)), mask_HW)


def region(x, y, width, height):
    return Region(Box(x, y, width, height), None)


def test_a_landscape_film_is_padded_above_and_below():
    """By hand: 80 x 40 pixels become 80 x 80 with 20 rows of black on each side, and every 10 x 10 one of 8 x 8."""
    found = truth.mask([region(0, 0, 20, 40)], 80, 40, Preprocess(8))
    expected = np.zeros((8, 8), bool)
    expected[2:6, 0:2] = True
    assert np.array_equal(found, expected)


def test_a_portrait_film_is_padded_left_and_right():
    found = truth.mask([region(10, 60, 30, 20)], 40, 80, Preprocess(8))
    expected = np.zeros((8, 8), bool)
    expected[6:8, 3:6] = True
    assert np.array_equal(found, expected)


def test_without_padding_both_sides_are_squeezed_by_their_own():
    found = truth.mask([region(0, 0, 20, 40)], 80, 40, Preprocess(8, pad="none"))
    expected = np.zeros((8, 8), bool)
    expected[:, 0:2] = True
    assert np.array_equal(found, expected)
    found = truth.mask([region(10, 60, 30, 20)], 40, 80, Preprocess(8, pad="none"))
    expected = np.zeros((8, 8), bool)
    expected[6:8, 2:8] = True
    assert np.array_equal(found, expected)


def test_several_regions_are_one_and_may_come_in_the_size_of_a_larger_copy():
    large_HW = np.zeros((160, 160), bool)
    large_HW[:20, :20] = True
    found = truth.mask(
        [Region(None, png(large_HW)), region(70, 70, 10, 10), region(60, 70, 10, 10)], 80, 80, Preprocess(8)
    )
    assert np.argwhere(found).tolist() == [[0, 0], [7, 6], [7, 7]]


def test_what_lies_in_the_mask_is_what_lies_in_the_box_of_the_film():
    """The film itself through `pixels`: white in the box, black elsewhere."""
    film_HW = np.zeros((48, 100), np.uint8)
    film_HW[10:30, 20:70] = 255
    stream = io.BytesIO()
    Image.fromarray(film_HW).save(stream, "PNG")
    for pad in ("black", "none"):
        preprocess = Preprocess(32, pad=pad)
        found = truth.mask([region(20, 10, 50, 20)], 100, 48, preprocess)
        assert np.array_equal(found, preprocess.pixels(stream.getvalue()) > 127)
