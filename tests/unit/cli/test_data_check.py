"""What `data check` says of a set that the default job could not use."""

import pytest
from PIL import Image

from pneumo_batch.cli import data_check
from pneumo_batch.errors import DataError
from pneumo_batch.job.schema import Data


def write(root, *splits):
    for k, split in enumerate(splits):
        for place in (f"{split}/A/{k}.png", f"{split}/B/9{k}.png"):
            (root / place).parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (64, 64), len(place) + 9 * k).save(root / place)
    return str(root)


@pytest.mark.parametrize(
    ("splits", "lines"),
    [
        (("train", "val"), ["no images in test: the default job needs train and test"]),
        (("test",), ["no images in train: the default job needs train and test"]),
        (("val",), ["no images in train and test: the default job needs train and test"]),
        (("train", "test"), []),
    ],
)
def test_a_missing_split_is_a_warning(tmp_path, splits, lines):
    found = data_check.audit(Data(root=write(tmp_path, *splits)))
    assert [line for line in found.warnings if "default job" in line] == lines


def test_a_list_in_place_of_the_folder_is_told_where_it_goes(tmp_path):
    (tmp_path / "images.csv").write_text("path,label,split\n")
    with pytest.raises(DataError, match=r"images\.csv: not a folder; a list of images goes after --manifest"):
        data_check.audit(Data(root=str(tmp_path / "images.csv")))
