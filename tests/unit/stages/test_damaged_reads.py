"""Whoever reads maps or scores is told of a damaged page, where the values alone would not tell."""

import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.report_runs import make_run

from pneumo_batch.errors import DamagedError
from pneumo_batch.report.source import Source
from pneumo_batch.rundir.writer import RunWriter
from pneumo_batch.stages import compare, conclude
from pneumo_batch.stages.workers import scorer

COLUMN = "grad_cam__true_0"
READERS = {
    "locate": ("maps", lambda run: compare.locate(run)),
    "maps of a block": ("maps", lambda run: read_block(run)),
    "maps of the gallery": ("maps", lambda run: Source(run).maps_of(IDS, [COLUMN])),
    "scores of the gallery": ("scores", lambda run: Source(run).scores_of(IDS)),
    "all scores": ("scores", lambda run: Source(run).similarities),
    "conclude": ("scores", lambda run: conclude.execute(run.job, run, None)),
}
DAMAGED = {"locate": "image_id", "maps": COLUMN, "scores": "score"}
IDS = ["test/0/person0_7.png"]


def read_block(run):
    place = {"file": 0, "row": 0}
    batch = pa.Table.from_pylist([{**place, "partners": [place]}])
    return scorer._reader(run, scorer.plan_of(run.job, run), batch, run.store.files("maps"))(*place.values())


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"), kinds=(1, 1), methods=("grad_cam",))


def damage_silently(path, column):
    """Flip a bit that changes values of a column and nothing else that pyarrow sees without checksums."""
    good, whole = path.read_bytes(), pq.read_table(path)
    part = pq.ParquetFile(path).metadata.row_group(0).column(whole.column_names.index(column))
    start = part.dictionary_page_offset or part.data_page_offset
    chance = random.Random(0)
    for _ in range(2000):
        place = chance.randrange(8 * start, 8 * (start + part.total_compressed_size))
        damaged = bytearray(good)
        damaged[place // 8] ^= 1 << place % 8
        try:
            found = pq.read_table(pa.BufferReader(bytes(damaged)))
        except (OSError, pa.ArrowException, UnicodeDecodeError):
            continue
        if found.schema == whole.schema and found.num_rows == whole.num_rows and found != whole:
            path.write_bytes(damaged)
            return
    pytest.fail("no bit found")


@pytest.mark.parametrize("reader", READERS)
def test_a_damaged_page_is_no_other_value(reader, written, tmp_path):
    folder, read = READERS[reader]
    read(written)
    run = RunWriter(tmp_path / "run")
    written.store.fs.create_dir(run.path)
    pa.fs.copy_files(written.path, run.path)
    damage_silently(tmp_path / "run" / folder / "part-0.parquet", DAMAGED.get(reader, DAMAGED[folder]))
    with pytest.raises(DamagedError, match=rf"{folder}.*: damaged: .*CRC"):
        read(run)
