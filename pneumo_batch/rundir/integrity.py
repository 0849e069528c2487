"""What tells a whole file from a damaged one: checksums of Parquet pages, and SHA-256 of everything else.

A file that a worker makes carries the SHA-256 of its content in its name (`sealed_name`), so that no crash can part the
two; the state of a training has it in front.
"""

import contextlib
import hashlib
import re
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq

from pneumo_batch.errors import DamagedError

_SEALED = re.compile(r"(?P<stem>.*)-(?P<digest>[0-9a-f]{64})\.[a-z]+")
DIGEST_BYTES = 32  # in front of a file that is written with `with_digest`


def parquet_format(dictionary: Sequence[str] = ()) -> pa.dataset.ParquetFileFormat:
    """For every read of a table: one flipped bit of a page becomes an error, as good as always.

    `dictionary` names columns of texts that are not spelled out row by row.
    """
    return pa.dataset.ParquetFileFormat(
        read_options=pa.dataset.ParquetReadOptions(dictionary_columns=list(dictionary)),
        default_fragment_scan_options=pa.dataset.ParquetFragmentScanOptions(page_checksum_verification=True),
    )


PARQUET = parquet_format()


@contextlib.contextmanager
def reading(name: str) -> Iterator[None]:
    """Errors that tell of damaged content become DamagedError; those of the disk or the network stay what they are."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if not _is_damage(error):
            raise
        raise DamagedError(f"{name}: damaged: {next(iter(str(error).splitlines()), type(error).__name__)}") from error


def _is_damage(error: Exception) -> bool:
    if isinstance(error, pa.ArrowCancelled | pa.ArrowMemoryError):
        return False
    # Arrow's plain OSErrors are its Parquet reader's; those of the system have a number, those of S3 begin so
    return not isinstance(error, OSError) or (error.errno is None and not str(error).startswith("When "))


def sha256(data: bytes | memoryview) -> str:
    return hashlib.sha256(data).hexdigest()


def parquet_bytes(table: pa.Table, dictionary: bool | Sequence[str] = True) -> bytes:
    """A table as the content of one Parquet file; `dictionary` names the columns that repeat their values."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", use_dictionary=dictionary, write_page_checksum=True)
    return sink.getvalue().to_pybytes()


def sealed_name(stem: str, data: bytes, suffix: str = "parquet") -> str:
    """A name that tells the SHA-256 of the content."""
    return f"{stem}-{sha256(data)}.{suffix}"


def seal(name: str) -> str | None:
    """The SHA-256 that a name tells; None of one that tells none."""
    found = _SEALED.fullmatch(name)
    return found["digest"] if found else None


def stem(name: str) -> str:
    """A name without what it tells of the content: one file's, whoever wrote it."""
    found = _SEALED.fullmatch(name)
    return found["stem"] if found else name


def with_digest(data: bytes) -> bytes:
    """Content with its SHA-256 in front, for a file that is written again and again under one name."""
    return hashlib.sha256(data).digest() + data


def without_digest(name: str, data: bytes) -> bytes:
    """What `with_digest` was given. Raises DamagedError."""
    digest, content = data[:DIGEST_BYTES], data[DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != digest:
        raise DamagedError(f"{name}: damaged: not what was written")
    return content
