"""Credentials in a URI, wherever they stand in it, are refused and not quoted."""

import pytest
from helpers.tiny import tiny_job

from pneumo_batch import pipeline
from pneumo_batch.errors import JobError
from pneumo_batch.rundir import locations

REFUSED = "credentials in a URI would get into records: pass them in environment variables instead"


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("s3://AKIA:SECRET@bucket/films", "s3://bucket/films"),
        ("s3://AKIA%3ASECRET@bucket/films", "s3://bucket/films"),
        # secrets with characters that were to be escaped, which end a host or a user before they do
        ("s3://AKIA:SEC/SECRET@bucket/films", "s3://..."),
        ("s3://AKIA:SEC?SECRET@bucket/films", "s3://..."),
        ("s3://AKIA:SEC#SECRET@bucket/films", "s3://..."),
        ("s3://AKIA:/SECRET@bucket/films", "s3://..."),
        ("s3://AKIA:12/SECRET@bucket/films", "s3://..."),
        ("s3://AKIA:SEC@RET/SECRET@bucket/films", "s3://..."),
        ("s3://AKIA:SECRET", "s3://..."),
        ("hdfs://me:SEC/SECRET@host:9000/films", "hdfs://..."),
        # in a query
        ("s3://bucket/films?region=here&secret_key=SECRET", "s3://bucket/films"),
        ("s3://bucket/films?secret%5Fkey=SECRET", "s3://bucket/films"),
        ("s3://bucket/films@2?secret_key=SECRET", "s3://..."),
        ("s3://bucket/films?endpoint_override=http://me:SECRET@minio:9000", "s3://bucket/films"),
        (
            "abfs://films@me.dfs.core.windows.net/a?client_id=me&client_secret=SECRET",
            "abfs://me.dfs.core.windows.net/a",
        ),
        ("abfs://films@me.dfs.core.windows.net/a?sv=2025&sp=r&sig=SECRET", "abfs://me.dfs.core.windows.net/a"),
        ("abfs://me.dfs.core.windows.net/films?account_key=SECRET", "abfs://me.dfs.core.windows.net/films"),
        ("https://host/films?X-Amz-Signature=SECRET", "https://host/films"),
        ("https://host/films?X-Amz-Security-Token=SECRET", "https://host/films"),
    ],
)
def test_credentials_are_refused_and_not_quoted(uri, shown):
    with pytest.raises(JobError) as caught:
        locations.open_filesystem(uri)
    assert str(caught.value) == f"{shown}: {REFUSED}"


@pytest.mark.parametrize("secret", ["[SECRET", "[SECRET]", "SECRE\u2100"])
def test_a_uri_that_is_none_is_one_line_without_what_it_holds(secret):
    with pytest.raises(JobError, match=r"^s3://\.\.\.: no URI: what follows the slashes is no host$"):
        locations.open_filesystem(f"s3://AKIA:{secret}@bucket/films")


@pytest.mark.parametrize(
    "location",
    [
        *("s3://bucket/a:b@c", "s3://key@bucket/films", "a folder:b@c", "s3://bucket?scheme=http&region=here"),
        *("hdfs://host:9000/user@home/films", "hdfs://[::1]:9000/films", "file:///films/a:b@c"),
        *("s3://bucket?endpoint_override=127.0.0.1%3A9000&scheme=http", "abfs://films@me.dfs.core.windows.net/a"),
        "abfs://me.blob.core.windows.net/films?credential_kind=environment&tenant_id=us",
    ],
)
def test_a_uri_without_credentials_is_none_to_refuse(location):
    assert locations.refuse_credentials(location) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"network": {"weights": "s3://AKIA:SECRET@bucket/w.pth"}},
        {"variant": [{"name": "mine", "kind": "true", "checkpoint": "s3://AKIA:SECRET@bucket/w.pth"}]},
    ],
)
def test_a_file_that_cannot_be_at_a_uri_is_not_quoted_either(fields, tmp_path):
    with pytest.raises(JobError, match=rf"^s3://bucket/w\.pth: {REFUSED}$"):
        pipeline.execute(tiny_job(**fields), str(tmp_path / "run"))
