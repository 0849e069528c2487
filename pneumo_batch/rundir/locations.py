"""Where things are: a path or any URI that pyarrow opens, as the file system that reads it."""

import os
import re
import shutil
import urllib.parse
from pathlib import Path

import pyarrow as pa
import pyarrow.fs

from pneumo_batch.core.data.roots import Root, Roots
from pneumo_batch.errors import DataError, JobError, RunError
from pneumo_batch.job.schema import Job

_SECRET = re.compile(r"key|secret|passw|token|signature|^sig$|credential(?!_kind)", re.IGNORECASE)  # in a query's names
_WITH_PORTS = ("hdfs", "viewfs")  # of other systems nothing but a bucket stands there


def open_filesystem(location: str | os.PathLike[str]) -> tuple[pa.fs.FileSystem, str]:
    """The filesystem of a path or URI and the path inside it. Raises JobError for a URI nothing opens."""
    text = os.fspath(location)
    if "://" not in text:
        return pa.fs.LocalFileSystem(), _expanded(text)
    refuse_credentials(text)
    try:
        filesystem, path = pa.fs.FileSystem.from_uri(text)
    except (pa.ArrowInvalid, OSError) as error:
        raise JobError(f"{text}: {reason(error)}") from error
    return filesystem, path


def refuse_credentials(location: str) -> None:
    """Raise JobError, without quoting them, for a URI that holds some; of a path nothing is asked."""
    scheme, is_uri, _ = location.partition("://")
    if not is_uri:
        return
    try:
        address = urllib.parse.urlsplit(location)
    except ValueError:  # whose message quotes what is no host, wherever its credentials are
        raise JobError(f"{scheme}://...: no URI: what follows the slashes is no host") from None
    user, _, host = address.netloc.rpartition("@")
    is_cut = _is_cut(host, address)
    if is_cut or ":" in urllib.parse.unquote(user) or _in_query(address.query):
        is_place = not is_cut and "@" not in address.path  # else what looks like one may be the rest of a secret
        place = f"{address.hostname or ''}{address.path}" if is_place else "..."
        raise JobError(
            f"{address.scheme}://{place}: credentials in a URI would get into records: pass them in environment"
            " variables instead"
        )


def _is_cut(host: str, address: urllib.parse.SplitResult) -> bool:
    """Whether the host is the beginning of credentials, as far as a character of the secret that was not escaped."""
    _, colon, port = host.rpartition("]")[2].partition(":")
    if not colon or (port.isdigit() and address.scheme in _WITH_PORTS):
        return False
    return "@" in f"{address.path}{address.query}{address.fragment}" if port.isdigit() or not port else True


def _in_query(query: str) -> bool:
    values = urllib.parse.parse_qsl(query, keep_blank_values=True)
    return any(_SECRET.search(name) or ":" in value.rpartition("@")[0] for name, value in values)


def read_location(location: str) -> bytes:
    """One file, by path or URI. Raises OSError, or ValueError for a URI nothing opens."""
    filesystem, path = open_filesystem(location)
    with filesystem.open_input_stream(path, compression=None) as stream:
        return stream.read()


def open_roots(location: str | list[str]) -> Roots:
    """The place of a job's images: one folder or URI, or several. Raises DataError."""
    try:
        if isinstance(location, str):
            return Roots.one(*open_filesystem(location))
        return Roots.several({one: Root(*open_filesystem(one)) for one in location})
    except DataError:
        raise
    except ValueError as error:
        raise DataError(f"data.root: {error}") from error


def reason(error: BaseException) -> str:
    """Why a file system refused something, in one line and without the request's number."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return text.partition(" (Request ID")[0].rstrip(".")


def refused(error: OSError) -> str:
    """Why what is named beside it could not be read; pyarrow's own words name it once more."""
    return os.strerror(error.errno) if error.errno else reason(error)


def folder_of_runs(location: str) -> Path:
    """A local folder that may hold runs. Raises RunError where there is none."""
    folder = Path(location)
    if not folder.is_dir():
        raise RunError(f"{location}: {'a file, not a folder of runs' if folder.exists() else 'no such folder'}")
    return folder


def free_bytes(folder: Path) -> int:
    """Of the disk of a local folder, which need not be there yet."""
    return shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.is_dir())).free


def absolute(location: str) -> str:
    """A path as any process finds it; a URI without the slashes behind it. Raises JobError for an unknown ~user."""
    scheme, is_uri, place = location.partition("://")
    if not is_uri:
        return _expanded(location)
    host, slash, path = place.partition("/")
    return f"{scheme}://{host}/{path.rstrip('/')}" if path.strip("/") else f"{scheme}://{host}{slash}"


def located(job: Job) -> Job:
    """The job with each of its places as any process finds it, wherever it runs. Raises JobError."""
    data = job.data
    places: dict[str, str | list[str]] = {}
    if not job.is_phantom:
        places["root"] = absolute(data.root) if isinstance(data.root, str) else [absolute(root) for root in data.root]
    if data.manifest:
        places["manifest"] = absolute(data.manifest)
    if data.names_regions:
        places["regions"] = absolute(data.regions)
    brought = [spec.model_copy(update={"checkpoint": absolute(spec.checkpoint)}) for spec in job.variant]
    return with_located_network(job).model_copy(update={"data": data.model_copy(update=places), "variant": brought})


def with_located_network(job: Job) -> Job:
    """The job with the places of its program and of the weights that training starts from, where these are files."""
    from pneumo_batch.core.models import pretrained, programs

    name, weights = job.network.name, job.network.weights
    if programs.is_file(name):
        name = absolute(name)
    if weights not in (pretrained.NONE, pretrained.IMAGENET):
        weights = absolute(weights)
    return job.model_copy(update={"network": job.network.model_copy(update={"name": name, "weights": weights})})


def _expanded(path: str) -> str:
    try:
        return str(Path(path).expanduser().absolute())
    except RuntimeError as error:
        raise JobError(f"{path}: there is no such user, or none with a home folder") from error
