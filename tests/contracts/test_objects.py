"""Hold the sinks of objects to their contract, and test what only they do."""

import gzip
import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import obstore
import pytest
from obstore import exceptions

from consumer.adapters import connect_sink
from consumer.aws.access import Accesses
from consumer.errors import ConfigurationError, SinkUnavailable
from consumer.sinks import Sink
from consumer.sinks.objects import directory, gs, s3
from consumer.testing import DEAD_LETTERS, ROWS, SinkContract, SinkPlace, make_batch
from tests.contracts.object_places import az_place, file_place, new_bucket, s3_client, s3_objects, s3_place
from tests.contracts.places import connect
from tests.servers import azurite
from tests.servers.loopback import LoopbackServer, QuietHandler
from tests.servers.sts import Aws

RAISED = [
    exceptions.GenericError,
    exceptions.InvalidPathError,
    exceptions.JoinError,
    exceptions.NotSupportedError,
    exceptions.AlreadyExistsError,
    exceptions.PreconditionError,
    exceptions.PermissionDeniedError,
    exceptions.UnauthenticatedError,
    exceptions.UnknownConfigurationKeyError,
]
NAME = "dt=2026-01-01/hour=00/shard-1-2"
SECRET = "s3cr3t"


@pytest.fixture(scope="module")
def azurite_server() -> Iterator[str]:
    with azurite.azurite() as endpoint:
        yield endpoint


@pytest.fixture(autouse=True)
def _azure_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", azurite.KEY)


class TestObjects(SinkContract):
    """The shipped contract over a directory, S3 on moto, and Azure Blob Storage on azurite."""

    @pytest.fixture(params=["file jsonl.gz", "file parquet", "s3 jsonl.gz", "s3 parquet", "az jsonl"])
    def place(self, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SinkPlace:
        store, form = request.param.split()
        if store == "file":
            return file_place(tmp_path, monkeypatch, form)
        if store == "s3":
            return s3_place(request.getfixturevalue("moto_server"), form)
        return az_place(request.getfixturevalue("azurite_server"), form)


# A server that responds as a test says --------------------------------------------------------------------------------


class Seen(NamedTuple):
    """A request that the server got."""

    method: str
    path: str
    headers: dict[str, str]


class Scripted(LoopbackServer):
    """Respond to PUT and HEAD with a status and an error code; without one as a bucket does."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, str]] = []
        self.seen: list[Seen] = []
        self.objects: set[str] = set()
        self.replaces = False  # ignore If-None-Match
        super().__init__(_Bucket)


class _Bucket(QuietHandler):
    server: Scripted

    def reply(self) -> None:
        server = self.server
        self.body()
        server.seen.append(Seen(self.command, self.path, {name.lower(): text for name, text in self.headers.items()}))
        status, code = server.answers.pop(0) if server.answers else self._as_a_bucket()
        body = f"<Error><Code>{code}</Code><Message>no\n{SECRET}</Message></Error>".encode() if code else b""
        headers = [("ETag", '"1"'), ("Last-Modified", "Fri, 27 Nov 2026 15:00:00 GMT")]
        self.respond(status, body, headers)

    def _as_a_bucket(self) -> tuple[int, str]:
        there = self.path in self.server.objects
        if self.command == "HEAD":
            return (200, "") if there else (404, "")
        if there and not self.server.replaces:
            return 412, "PreconditionFailed"
        self.server.objects.add(self.path)
        return 200, ""


@pytest.fixture
def bucket() -> Iterator[Scripted]:
    server = Scripted()
    yield server
    server.stop()


def sink_of(server: Scripted, more: str = "", prefix: str = "calls") -> Sink:
    return connect(s3, f"s3://rows/{prefix}?endpoint_url={server.url}{more}")


def test_an_object_that_exists_is_a_success(bucket: Scripted) -> None:
    """412 means that this batch was written before."""
    sink = sink_of(bucket)
    assert sink.write(make_batch([1, 2])) == 0
    assert sink.write(make_batch([1, 2])) == 2
    assert bucket.objects == {f"/rows/calls/{NAME.replace('=', '%3D')}.jsonl.gz"}


def test_a_conflict_of_two_requests_is_retried(bucket: Scripted) -> None:
    """S3 sends 409 while another request for the name is under way. If that one fails, there is no object."""
    sink = sink_of(bucket)
    bucket.answers = [(409, "ConditionalRequestConflict"), (404, "")]
    with pytest.raises(SinkUnavailable, match="under way"):
        sink.write(make_batch([1, 2]))
    assert sink.write(make_batch([1, 2])) == 0


def test_a_conflict_with_a_request_that_succeeded_is_a_success(bucket: Scripted) -> None:
    """The object is there by then."""
    sink = sink_of(bucket)
    bucket.answers = [(409, "ConditionalRequestConflict"), (200, "")]
    assert sink.write(make_batch([1, 2])) == 2


def test_a_store_that_replaces_objects_is_refused(bucket: Scripted) -> None:
    """The start sees it with two small requests; a later start as well."""
    bucket.replaces = True
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="replaces objects"):
            sink_of(bucket).check()
    assert [seen.method for seen in bucket.seen] == ["PUT", "PUT"] * 2
    bucket.replaces = False
    sink_of(bucket).check()
    sink_of(bucket).check()


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        ((403, "AccessDenied"), ConfigurationError, "HTTP 403: AccessDenied: no: the credentials need s3:PutObject"),
        ((404, "NoSuchBucket"), ConfigurationError, "NoSuchBucket: no: create the bucket"),
        ((400, "AuthorizationHeaderMalformed"), ConfigurationError, "region=REGION"),
        ((301, ""), ConfigurationError, "region=REGION"),
        ((400, "ExpiredToken"), ConfigurationError, "ExpiredToken"),
        ((503, "SlowDown"), SinkUnavailable, "HTTP 503: SlowDown"),
        ((500, ""), SinkUnavailable, "HTTP 500"),
        ((429, ""), SinkUnavailable, "HTTP 429"),
    ],
)
def test_an_error_response_is_one_line(bucket: Scripted, answer: Any, kind: type[Exception], words: str) -> None:
    """At the start lasting ones are configuration errors, later all are retried. The body's text is cut."""
    sink = sink_of(bucket)
    for call, expected in ((sink.check, kind), (partial(sink.write, make_batch([1])), SinkUnavailable)):
        bucket.answers = [answer]
        with pytest.raises(expected) as raised:
            call()
        text = str(raised.value)
        assert words in text
        assert text.startswith(f"--sink s3://rows/calls: PUT at {bucket.url}: ")
        assert "\n" not in text
        assert SECRET not in text


def test_a_bucket_that_hides_which_objects_it_has_is_refused(bucket: Scripted) -> None:
    """Without s3:ListBucket S3 answers 403 for an object that is not there, so `holds` could never say no."""
    sink = sink_of(bucket)
    sink.write(make_batch([1]))
    bucket.objects |= {"/rows/calls/_call-consumer"}
    bucket.answers = [(412, ""), (200, ""), (412, ""), (200, ""), (403, "")]
    with pytest.raises(ConfigurationError, match="s3:ListBucket"):
        sink.check()


def test_a_server_that_is_down_is_named(bucket: Scripted) -> None:
    """It is unavailable, at the start too."""
    sink = sink_of(bucket)
    bucket.stop()
    for call in (sink.check, partial(sink.write, make_batch([1])), partial(sink.holds, NAME)):
        with pytest.raises(SinkUnavailable, match=rf"at {re.escape(bucket.url)}: connection refused"):
            call()


@pytest.mark.parametrize("kind", [*RAISED, OSError, ValueError, RuntimeError, TypeError])
def test_any_error_of_the_library_is_one_line(
    bucket: Scripted, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    """Its own text may hold the address of a request, which may hold a signature."""
    sink = sink_of(bucket)

    def fail(*_: object, **__: object) -> None:
        raise kind(f"Error performing PUT https://rows.example/?sig={SECRET} in 1s\n\nDebug source:\n{SECRET}")

    monkeypatch.setattr(obstore, "put", fail)
    monkeypatch.setattr(obstore, "head", fail)
    for call in (partial(sink.write, make_batch([1])), partial(sink.holds, NAME)):
        with pytest.raises(SinkUnavailable) as raised:
            call()
        assert SECRET not in str(raised.value)
        assert "\n" not in str(raised.value)
    with pytest.raises((SinkUnavailable, ConfigurationError)) as raised_at_start:
        sink.check()
    assert SECRET not in str(raised_at_start.value)


def test_options_become_headers_that_are_signed(bucket: Scripted) -> None:
    """S3 rejects a request with an x-amz- header that its signature does not cover."""
    owner, key = "123456789012", "arn:aws:kms:eu-west-1:123456789012:key/1"
    more = f"&expected_bucket_owner={owner}&sse_kms_key_id={key}&sse_bucket_key=true&tags=team:calls,stage:live"
    sink_of(bucket, more).write(make_batch([1]))
    headers = bucket.seen[0].headers
    expected = {
        "x-amz-expected-bucket-owner": owner,
        "x-amz-server-side-encryption": "aws:kms",
        "x-amz-server-side-encryption-aws-kms-key-id": key,
        "x-amz-server-side-encryption-bucket-key-enabled": "true",
        "if-none-match": "*",
        "content-type": "application/gzip",
    }
    assert {name: headers.get(name) for name in expected} == expected
    assert sorted(headers["x-amz-tagging"].split("&")) == ["stage=live", "team=calls"]
    signed = re.search(r"SignedHeaders=([^,]+)", headers["authorization"])
    assert signed is not None
    assert {"x-amz-tagging", *expected} - {"content-type"} <= set(signed[1].split(";"))


def test_the_sink_uses_the_credentials_of_all_aws_clients(bucket: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are read anew for each request, and rejected ones are renewed."""
    accesses = Accesses("eu-west-1", bucket.url)
    sink = connect_sink("--sink", "s3://rows/calls", ROWS, accesses)
    sink.write(make_batch([1]))
    [credentials] = accesses.credentials
    assert "Credential=test/" in bucket.seen[-1].headers["authorization"]
    assert "/eu-west-1/s3/" in bucket.seen[-1].headers["authorization"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "other")
    bucket.answers = [(400, "ExpiredToken")]
    with pytest.raises(SinkUnavailable):
        sink.write(make_batch([2], f"{NAME}3"))
    assert credentials.rejected
    credentials.load()
    sink.write(make_batch([2], f"{NAME}3"))
    assert "Credential=other/" in bucket.seen[-1].headers["authorization"]


def test_a_role_is_assumed_for_the_sink_alone(bucket: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its credentials are renewed with those of the other clients."""
    sts = Aws()
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
    accesses = Accesses("eu-west-1", bucket.url)
    role = "arn:aws:iam::123456789012:role/writer"
    connect_sink("--sink", f"s3://rows/calls?role_arn={role}", ROWS, accesses).write(make_batch([1]))
    assert "Credential=KEY-OF-writer/" in bucket.seen[-1].headers["authorization"]
    assert bucket.seen[-1].headers["x-amz-security-token"] == "T"
    assert sts.signed == [("test", "sts", role)]
    assert [each.seconds_left > 0 for each in accesses.credentials] == [True, True]
    sts.stop()


def test_missing_credentials_are_named(bucket: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without them no request is made."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    with pytest.raises(ConfigurationError, match="s3://rows/calls: no AWS credentials: set AWS_PROFILE"):
        sink_of(bucket).check()
    assert not bucket.seen


def test_the_endpoint_is_that_of_the_option_the_setting_or_the_environment(
    bucket: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this order. Path style is the default for a custom endpoint."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", bucket.url)
    wrong = "http://127.0.0.1:1"
    connect_sink("--sink", "s3://rows/calls", ROWS).write(make_batch([1]))
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", wrong)
    connect_sink("--sink", "s3://rows/calls", ROWS, Accesses(None, bucket.url)).write(make_batch([1]))
    given = f"s3://rows/calls?endpoint_url={bucket.url}"
    connect_sink("--sink", given, ROWS, Accesses(None, wrong)).write(make_batch([1]))
    puts = [seen.path for seen in bucket.seen if seen.method == "PUT"]
    assert len(puts) == 3
    assert all(path.startswith("/rows/calls/") for path in puts)


@pytest.mark.parametrize(
    ("bucket_name", "more", "address"),
    [
        ("rows", "region=eu-west-1", "https://rows.s3.eu-west-1.amazonaws.com"),
        ("my.rows", "region=eu-west-1", "https://s3.eu-west-1.amazonaws.com"),
        ("rows", "region=eu-west-1&path_style=true", "https://s3.eu-west-1.amazonaws.com"),
        ("rows", "region=cn-north-1", "https://rows.s3.cn-north-1.amazonaws.com.cn"),
        ("rows", "endpoint_url=https://minio:9000&path_style=false", "https://rows.minio:9000"),
    ],
)
def test_the_bucket_is_part_of_the_host_name_or_of_the_path(bucket_name: str, more: str, address: str) -> None:
    """The host name is the default on AWS, except for a bucket whose dots no certificate covers."""
    sink: Any = connect(s3, f"s3://{bucket_name}/calls?{more}")
    assert sink.store._service.host == address


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("s3:rows", "say s3://BUCKET/PREFIX"),
        ("s3://rows/a//b?region=eu-west-1", "the prefix may contain"),
        ("s3://rows/../b?region=eu-west-1", "the prefix may contain"),
        ("s3://rows/a{b}?region=eu-west-1", "the prefix may contain"),
        ("s3://rows/a", "no AWS region"),
        ("s3://rows/a?region=eu-west-1&format=csv", "'jsonl.gz', 'jsonl' or 'parquet'"),
        ("s3://rows/a?region=eu-west-1&expected_bucket_owner=12", "twelve digits"),
        ("s3://rows/a?region=eu-west-1&tags=a", "tags=name:value"),
        ("az:rows", "say az://CONTAINER/PREFIX"),
        ("az://rows/a", "account"),
        ("gs:rows", "say gs://BUCKET/PREFIX"),
        ("file:", "name a directory"),
        ("file:x?tags=a:b", "unknown option 'tags'"),
    ],
)
def test_a_wrong_url_is_one_line(text: str, words: str) -> None:
    """It is found before any request."""
    with pytest.raises(ConfigurationError) as raised:
        connect_sink("--sink", text, ROWS)
    assert words in str(raised.value)
    assert str(raised.value).startswith("--sink")
    assert "\n" not in str(raised.value)


def test_a_google_bucket_is_opened_without_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no emulator to test more with."""
    sink = connect(gs, "gs://rows/calls?format=jsonl")
    assert sink.repeats.value == "by-batch"


@pytest.mark.parametrize("library", ["obstore", "pyarrow"])
def test_a_missing_library_is_named_with_its_extra(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The start finds it, not the first batch."""
    for name in ("obstore", "obstore.exceptions", "pyarrow", "pyarrow.parquet"):
        if name.startswith(library):
            monkeypatch.setitem(__import__("sys").modules, name, None)
    extra = {"obstore": "objects", "pyarrow": "parquet"}[library]
    with pytest.raises(ConfigurationError, match=re.escape(f"pip install 'call-request-consumer[{extra}]'")):
        connect(s3, "s3://rows/calls?region=eu-west-1&format=parquet")


def test_a_custom_ca_bundle_must_be_readable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is that of the other AWS clients."""
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "none.pem"))
    with pytest.raises(ConfigurationError, match="cannot read the CA bundle"):
        connect(s3, "s3://rows/calls?region=eu-west-1")


# Names and contents ---------------------------------------------------------------------------------------------------


def test_rows_and_dead_letters_share_a_prefix(moto_server: str) -> None:
    """A reader of `*.jsonl.gz` finds only rows."""
    client = s3_client(moto_server)
    name = new_bucket(client)
    url = f"s3://{name}/calls?endpoint_url={moto_server}"
    for schema, number in ((ROWS, 1), (DEAD_LETTERS, 2)):
        sink = connect(s3, url, schema)
        sink.check()
        sink.write(make_batch([number]))
    found = dict(s3_objects(client, name))
    assert list(found) == ["calls/_call-consumer", f"calls/{NAME}.dead-letters.gz", f"calls/{NAME}.jsonl.gz"]
    assert json.loads(gzip.decompress(found[f"calls/{NAME}.dead-letters.gz"]))["id"] == 2


def test_dead_letters_have_no_parquet(tmp_path: Path) -> None:
    """Their commands read lines."""
    with pytest.raises(ConfigurationError, match="for rows only"):
        connect(directory, f"file:{tmp_path}?format=parquet", DEAD_LETTERS)


def test_dead_letters_in_a_directory_are_private(tmp_path: Path) -> None:
    """Their bytes hold everything that a row leaves out."""
    sink = connect(directory, f"file:{tmp_path}", DEAD_LETTERS)
    sink.write(make_batch([1]))
    [file] = tmp_path.rglob("*.dead-letters.gz")
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_batch_is_found_in_any_format(tmp_path: Path) -> None:
    """The format may have changed since it was written."""
    connect(directory, f"file:{tmp_path}?format=jsonl").write(make_batch([1]))
    assert connect(directory, f"file:{tmp_path}?format=parquet").holds(NAME)


def test_a_name_with_a_suffix_decides_the_format(tmp_path: Path) -> None:
    """A batch that was prepared for another format gets the object that was prepared."""
    sink = connect(directory, f"file:{tmp_path}?format=parquet")
    assert sink.write(make_batch([1], f"{NAME}.jsonl")) == 0
    assert sink.write(make_batch([1], f"{NAME}.jsonl")) == 1
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["shard-1-2.jsonl"]
