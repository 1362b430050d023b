"""Run `doctor` against a small Kinesis on loopback: it reads, writes, and names what would stop a worker."""

import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from benchmarks.events import STREAM
from benchmarks.stub import RequestFailed, Stub, bake
from consumer import app
from consumer.adapters import connect
from consumer.doctor import effective_settings, examination, storage, stream
from consumer.doctor.checks import Check, Finding, Level, failed, ok, run_checks
from consumer.doctor.credentials import check_credentials
from consumer.leases import Lease, Scope
from consumer.leases.sqlite import SqliteLeaseTable
from consumer.records import SHARD_END, TRIM_HORIZON, BatchLimits, Position, Shard, StreamSummary
from consumer.settings import load, sources

BEGAN = time.time()
NOW = datetime.fromtimestamp(BEGAN, UTC)
FIRST = "shardId-000000000000"
ACCESS = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_EC2_METADATA_DISABLED": "true"}
SUMMARY = StreamSummary("calls", True, NOW - timedelta(days=30), NOW)


class OddStub(Stub):
    """A stub that runs `odd` before it responds to a call."""

    def __init__(self, shards: int) -> None:
        super().__init__(bake(shards, 4 * shards, 1, BEGAN), 100, BEGAN)
        self.odd: Callable[[str, dict[str, Any]], object] = lambda *_: None
        self.calls: list[str] = []

    def answer(self, action: str, asked: dict[str, Any]) -> Iterable[bytes | memoryview]:
        self.calls.append(action)
        self.odd(action, asked)
        return super().answer(action, asked)


class Bench:
    """A folder with a configuration, and the stub that it names."""

    def __init__(self, stub: OddStub, folder: Path) -> None:
        self.stub, self.folder = stub, folder
        self.flags: dict[str, object] = {"stream": STREAM, "endpoint_url": stub.url, "region": "us-east-1"}

    def findings(self, **flags: object) -> list[Finding]:
        settings = load({**self.flags, **flags}, environ={})
        return list(app.create_examination(settings).findings())

    def failed(self, **flags: object) -> list[str]:
        """Return the FAILED lines, which must be the last ones."""
        found = self.findings(**flags)
        bad = [finding.line for finding in found if finding.level is Level.FAILED]
        assert [finding.line for finding in found][len(found) - len(bad) :] == bad
        return bad

    def keep(self, *rows: Lease) -> None:
        """Put rows into the lease table."""
        table = SqliteLeaseTable(self.folder / "call-consumer.db", Scope(STREAM, STREAM, 1.0))
        table.check()
        for row in rows:
            table.create(row)
        table.close()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Provide two shards, an empty folder and short waits."""
    for name, value in ACCESS.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_CREDENTIAL_EXPIRATION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stream, "RETRY_INTERVAL", 0.01)
    with OddStub(2) as stub:
        thread = threading.Thread(target=stub.serve_forever, daemon=True)
        thread.start()
        yield Bench(stub, tmp_path)
        stub.shutdown()
        thread.join()


def refusing(action: str, code: str, times: int = 1000) -> Callable[[str, dict[str, Any]], None]:
    """Return a function that rejects a call this many times."""
    left = [times]

    def odd(called: str, asked: dict[str, Any]) -> None:
        if called == action and left[0]:
            left[0] -= 1
            raise RequestFailed(code)

    return odd


def test_a_working_configuration_is_read_and_written(bench: Bench) -> None:
    """The output shows lag and owner per shard. Only files that `run` would create remain."""
    bench.keep(Lease(FIRST, Position.of(1), owner="worker-7", read_to=NOW))
    lines = [finding.line for finding in bench.findings(sink="jsonl:rows")]
    assert not [line for line in lines if line.startswith("FAILED")]
    assert [line.partition(" ")[0] for line in lines].count("ok") == len(lines)
    [shard] = [line for line in lines if FIRST in line]
    assert "behind, read by worker-7" in shard
    assert "not read yet" in next(line for line in lines if "shardId-000000000001" in line)
    assert sorted(path.name for path in bench.folder.rglob("*") if path.is_file()) == ["call-consumer.db"]


def test_at_most_twenty_shards_are_read_once_each(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Finished shards are not read."""
    monkeypatch.setattr(examination, "MAX_SHARDS", 1)
    lines = [finding.line for finding in bench.findings()]
    assert bench.stub.calls.count("GetRecords") == 1
    assert "ok      shards: 1 more were not read" in lines
    bench.keep(Lease(FIRST, SHARD_END))
    assert not [line for line in (finding.line for finding in bench.findings()) if FIRST in line]


@pytest.mark.parametrize(
    ("action", "code", "says"),
    [
        ("GetRecords", "AccessDeniedException", "allow kinesis:GetShardIterator and kinesis:GetRecords"),
        ("GetShardIterator", "AccessDeniedException", "allow kinesis:GetShardIterator"),
        ("GetRecords", "KMSAccessDeniedException", "allow kms:Decrypt"),
        ("GetRecords", "KMSDisabledException", "enable the stream's KMS key"),
        ("GetRecords", "ProvisionedThroughputExceededException", "other readers use up the 5 reads"),
        ("ListShards", "AccessDeniedException", "AccessDeniedException"),
        ("DescribeStreamSummary", "ResourceNotFoundException", "there is no stream"),
    ],
)
def test_a_stream_that_cannot_be_read_is_reported_with_cause_and_remedy(
    bench: Bench, action: str, code: str, says: str
) -> None:
    """One line covers all shards."""
    bench.stub.odd = refusing(action, code)
    [line] = bench.failed()
    assert says in line
    assert code in line or action == "DescribeStreamSummary"


def test_a_single_throttled_read_is_not_a_failure(bench: Bench) -> None:
    """A worker would retry, too."""
    bench.stub.odd = refusing("GetRecords", "ProvisionedThroughputExceededException", times=2)
    assert bench.failed() == []


def test_a_shard_that_hangs_is_named_and_the_others_are_reported(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check takes a limited time."""
    monkeypatch.setattr(examination, "SHARDS", 1.0)
    go_on = threading.Event()

    def odd(action: str, asked: dict[str, Any]) -> None:
        if action == "GetShardIterator" and asked["ShardId"] == FIRST:
            go_on.wait(20)

    bench.stub.odd = odd
    found = bench.findings()
    go_on.set()
    assert found[-1].line.startswith(f"FAILED  shard {FIRST}: no response within 1 s")
    assert [finding for finding in found if "shardId-000000000001" in finding.what and finding.level is Level.OK]


def test_a_stream_that_does_not_respond_is_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other checks are reported too."""
    monkeypatch.setattr(examination, "FIRST", 1.0)
    go_on = threading.Event()
    bench.stub.odd = lambda *_: go_on.wait(20)
    found = bench.findings()
    go_on.set()
    assert [finding.what for finding in found if finding.level is Level.FAILED] == ["stream"]
    assert "ok      leases: 0 rows" in [finding.line for finding in found]


def test_a_stream_that_was_created_again_is_recognized_by_the_rows(bench: Bench) -> None:
    """Their checkpoints are invalid in the new stream."""
    bench.keep(Lease(FIRST, Position.of(1), stream_created_at=NOW - timedelta(days=99)))
    [line] = bench.failed()
    assert line.startswith("FAILED  stream: it was created again")
    assert "choose another --application" in line


def test_a_span_of_records_trimmed_unread_is_reported(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here it is six hours by the clock of the stream, and the first record that arrives is a later one."""
    date = format_datetime(NOW, usegmt=True)
    monkeypatch.setattr("http.server.BaseHTTPRequestHandler.date_time_string", lambda *_: date)
    bench.keep(Lease(FIRST, Position.of(1), read_to=NOW - timedelta(hours=30)))
    [warning] = [finding for finding in bench.findings() if finding.level is Level.WARNING]
    assert warning.what == f"shard {FIRST}"
    assert "(6 h) may be lost" in warning.text


@pytest.mark.parametrize(("days", "told"), [(2, True), (30, False)])
def test_a_loss_that_a_worker_found_is_reported_for_a_week(bench: Bench, days: int, told: bool) -> None:
    """The row keeps it although the worker has read on."""
    found = NOW - timedelta(days=days)
    bench.keep(Lease(FIRST, Position.of(1), read_to=NOW, lost_from=found - timedelta(hours=3), lost_to=found))
    warnings = [finding.text for finding in bench.findings() if finding.level is Level.WARNING]
    assert [("(3 h) may be lost" in text) for text in warnings] == [True] * told


@pytest.mark.parametrize(("seconds", "level"), [(0, Level.OK), (59, Level.OK), (61, Level.FAILED), (-61, Level.FAILED)])
def test_a_clock_that_is_off_by_more_than_a_minute_fails(seconds: int, level: Level) -> None:
    """It may be ahead or behind."""
    [found] = stream.check_clock(SUMMARY, NOW + timedelta(seconds=seconds))
    assert found.level is level


@pytest.mark.parametrize(
    ("variables", "level", "says"),
    [
        ({}, Level.OK, "from AWS_ACCESS_KEY_ID"),
        ({"AWS_SESSION_TOKEN": "t"}, Level.WARNING, "nothing renews them"),
        ({"AWS_SESSION_TOKEN": "t", "AWS_CREDENTIAL_EXPIRATION": "+600"}, Level.FAILED, "in 10 min, and nothing"),
        ({"AWS_SESSION_TOKEN": "t", "AWS_CREDENTIAL_EXPIRATION": "+7200"}, Level.OK, "nothing renews them"),
        ({"AWS_SESSION_TOKEN": "t", "AWS_CREDENTIAL_EXPIRATION": "-600"}, Level.FAILED, "expired"),
        ({"AWS_PROFILE": "ending", "AWS_ACCESS_KEY_ID": ""}, Level.FAILED, "in 10 min, and nothing renews them"),
    ],
)
def test_credentials_that_expire_soon_are_reported(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], level: Level, says: str
) -> None:
    """Credentials from the environment and from files do not renew themselves."""
    soon = (datetime.now(UTC) + timedelta(seconds=600)).isoformat()
    file = bench.folder / "credentials"
    file.write_text(
        f"[ending]\naws_access_key_id = k\naws_secret_access_key = s\naws_session_token = t\naws_expiration = {soon}\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    for name, value in variables.items():
        in_time = datetime.now(UTC) + timedelta(seconds=int(value)) if name.endswith("EXPIRATION") else None
        if value:
            monkeypatch.setenv(name, in_time.isoformat() if in_time else value)
        else:
            monkeypatch.delenv(name)
    [credentials] = connect(load(bench.flags, environ={})).credentials
    [found] = check_credentials(credentials, datetime.now(UTC))
    assert found.level is level, found.line
    assert says in found.text


def test_a_file_that_cannot_grow_is_reported(bench: Bench) -> None:
    """A full disk may accept an empty file, but not a block."""
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (65536, {most}));"
    no_cut_off_modules = "import sys; sys.dont_write_bytecode = True;"
    code = f"{no_cut_off_modules} {limited} from consumer.cli import main; main()"
    arguments = ["doctor", STREAM, "--endpoint-url", bench.stub.url, "--region", "us-east-1", "--sink", "jsonl:rows"]
    command = [sys.executable, "-c", code, *arguments, "--leases", "memory:", "--dead-letters", "stdout:"]
    done = subprocess.run(command, cwd=bench.folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stdout.splitlines()[-1].startswith("FAILED  sink: rows: cannot write 1024 KiB: File too large: ")
    assert not list((bench.folder / "rows").iterdir())


def test_a_full_disk_is_reported(tmp_path: Path) -> None:
    """Only root can mount a small file system for this test."""
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path], check=False).returncode:
        pytest.skip("only root may mount a small file system")
    try:
        [found] = storage.check_space("sink", tmp_path)
        left = list(tmp_path.iterdir())
    finally:
        subprocess.run(["umount", tmp_path], check=True)
    assert found.line.startswith(
        f"FAILED  sink: {tmp_path}: cannot write 1024 KiB: No space left on device: the disk is full"
    )
    assert left == []


def test_an_unforeseen_error_becomes_a_finding() -> None:
    """Its text may contain a value and is not shown."""

    def ask() -> Iterable[Finding]:
        yield ok("a", "seen before")
        raise KeyError("+15550100000")

    [found] = run_checks([Check("sink", ask)], 5.0)
    assert found.line.startswith("FAILED  sink: unforeseen KeyError at test_doctor.py:")


def test_equal_failures_of_shards_become_one_line() -> None:
    """Shards that can be read keep a line each."""
    found = [failed(f"shard {n}", "no") for n in range(3)] + [ok("shard 3", "yes"), ok("shard 4", "yes")]
    lines = [finding.line for finding in stream.merge_failures(found)]
    assert lines == ["ok      shard 3: yes", "ok      shard 4: yes", "FAILED  shard 0 and 2 more: no"]


def test_open_shards_come_before_closed_ones() -> None:
    """A worker reads open shards longest."""
    shards = [Shard("a", closed=True), Shard("b"), Shard("c", closed=True), Shard("d")]
    rows = {"c": Lease("c", SHARD_END)}
    assert [shard.shard_id for shard in stream.to_read(shards, rows)] == ["b", "d", "a"]
    assert Position.of(1) > TRIM_HORIZON


def test_each_setting_is_shown_with_its_source_and_without_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sources are flag, environment, file, default, and botocore."""
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    file = tmp_path / "settings.toml"
    file.write_text("threads = 3")
    environ = {"CALL_CONSUMER_MEMORY": "1MiB"}
    flags = {"stream": "calls", "sink": "other://user:pw-1@host/db?password=pw-2"}
    said = sources(flags, str(file), environ)
    lines = list(effective_settings.lines(load(flags, str(file), environ), said, BatchLimits(7)))
    shown = {line.split()[0]: line for line in lines}
    assert shown["stream"].split()[1:] == ["calls", "(argument)"]
    assert shown["sink"].endswith("(flag)")
    assert "pw-" not in "".join(lines)
    assert shown["threads"].split(maxsplit=2)[1:] == ["3", f"(file {file}: threads)"]
    assert shown["memory"].endswith("(environment CALL_CONSUMER_MEMORY)")
    assert shown["lease-duration"].endswith("(default)")
    assert shown["batch-rows"].split(maxsplit=2)[1:] == ["7", "(default: the sink's own)"]
    assert shown["application"].split()[1] == "calls"
    assert shown["region"].split()[1:] == ["eu-west-1", "(botocore)"]
    assert shown["endpoint-url"].split()[1:] == ["https://kinesis.eu-west-1.amazonaws.com", "(botocore)"]


def test_the_region_of_a_stream_arn_wins_over_the_environment() -> None:
    """The output names the source."""
    arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/calls"
    [line] = [
        one for one in effective_settings.lines(load({"stream": arn}, environ={}), {}) if one.startswith("region")
    ]
    assert line.split(maxsplit=2)[1:] == ["eu-west-1", "(the stream's ARN)"]
    assert sources({}, environ={"AWS_REGION": "eu-west-2"}) == {"region": "AWS_REGION"}


def test_the_effective_endpoint_asks_no_source_of_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A credential process may hang, and the credentials have a check with a timeout."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "config").write_text(f"[default]\ncredential_process = touch {tmp_path / 'asked'}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    settings = load({"stream": "calls", "region": "us-east-1"}, environ={})
    assert any("kinesis.us-east-1" in line for line in effective_settings.lines(settings, {"region": "flag"}))
    assert not (tmp_path / "asked").exists()
