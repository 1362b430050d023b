"""Run the record processor of one shard as Amazon's MultiLangDaemon does."""

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from consumer.cli.kcl_daemon import _command
from consumer.decoding.decoder import Decoder
from consumer.errors import ConfigurationError, SinkUnavailable
from consumer.multilang.properties import properties
from consumer.multilang.record_processor import RecordProcessor
from consumer.multilang.wire import Wire
from consumer.process import Exit
from consumer.records import BatchLimits, Shard
from consumer.settings import load
from tests.events import event_ids, numbered_event
from tests.unit.drivers import ListSink, pipeline_to

SEQUENCE = 49590338271490256608559692538361571095921575989136588898
AT_ONCE = BatchLimits(rows=1)
SOON = BatchLimits(rows=100, age=5.0)


def record(number: int, data: bytes | None = None, sub: int = 0, sequence: int | None = None) -> dict[str, Any]:
    """Return a user record as the daemon writes it."""
    return {
        "action": "record",
        "data": base64.b64encode(numbered_event(number) if data is None else data).decode(),
        "partitionKey": "key",
        "sequenceNumber": str(SEQUENCE + (number if sequence is None else sequence)),
        "approximateArrivalTimestamp": 1_700_000_000_123,
        "subSequenceNumber": sub,
    }


def _decoder(shard: Shard) -> Decoder:
    return Decoder("stream", shard)


class Daemon:
    """Play the daemon: send messages, and respond to checkpoints until the status arrives."""

    def __init__(self, reading: int, writing: int) -> None:
        self._lines = os.fdopen(reading, "rb")
        self._writing = writing
        self.errors: list[str] = []  # errors in response to the next checkpoints

    def say(self, action: str, **fields: Any) -> list[tuple[str | None, int | None]]:
        """Send a message. Return the checkpoints that the child requested before its status."""
        self.send(action, **fields)
        checkpoints: list[tuple[str | None, int | None]] = []
        for line in self._lines:
            if not line.strip():
                continue
            message = json.loads(line)
            if message["action"] == "status":
                assert message["responseFor"] == action
                return checkpoints
            checkpoints.append((message["sequenceNumber"], message["subSequenceNumber"]))
            error = self.errors.pop(0) if self.errors else None
            self.send(**{**message, "error": error})
        raise EOFError(checkpoints)

    def records(self, *records: dict[str, Any]) -> list[tuple[str | None, int | None]]:
        return self.say("processRecords", records=list(records), millisBehindLatest=0)

    def send(self, action: str, **fields: Any) -> None:
        os.write(self._writing, json.dumps({"action": action, **fields}).encode() + b"\n")

    def leave(self) -> None:
        if self._writing >= 0:
            os.close(self._writing)
        self._writing = -1


class Talk:
    """A daemon, its child, and a clock that moves only when a test sets it."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon, self.now, self.code = daemon, 0.0, Exit.UNEXPECTED

    def end(self) -> Exit:
        """Close the pipe and wait for the child."""
        self.daemon.leave()
        self.thread.join(30)
        assert not self.thread.is_alive()
        return self.code

    thread: threading.Thread


@contextmanager
def talk(rows: ListSink, letters: ListSink | None = None, patience: float = 25.0) -> Iterator[Talk]:
    """Start a child for one shard and initialize it."""
    child_reads, daemon_writes = os.pipe()
    daemon_reads, child_writes = os.pipe()
    talking = Talk(Daemon(daemon_reads, daemon_writes))
    child = RecordProcessor(
        Wire(child_reads, child_writes),
        pipeline_to(rows, letters),
        _decoder,
        lambda: talking.now,
        structlog.get_logger(),
        patience,
    )

    def run() -> None:
        talking.code = child.run()
        os.close(child_writes)

    talking.thread = threading.Thread(target=run)
    talking.thread.start()
    try:
        talking.daemon.say("initialize", shardId="shardId-7", sequenceNumber="TRIM_HORIZON", subSequenceNumber=0)
        yield talking
    finally:
        talking.end()
        os.close(child_reads)
        talking.daemon._lines.close()


def place(number: int, sub: int = 0) -> tuple[str, int]:
    return str(SEQUENCE + number), sub


def test_a_full_batch_is_checkpointed_at_its_last_record() -> None:
    """Rows carry the shard and the sequence number that the daemon sent."""
    rows = ListSink(limits=BatchLimits(rows=3))
    with talk(rows) as talking:
        assert talking.daemon.records(record(1), record(2), record(3)) == [place(3)]
    assert rows.ids == event_ids([1, 2, 3])
    assert rows.lines[0]["shard_id"] == "shardId-7"
    assert rows.lines[0]["sequence_number"] == str(SEQUENCE + 1)
    assert rows.lines[0]["arrived_at"] == "2023-11-14T22:13:20.123Z"


def test_a_partial_batch_waits_until_it_reaches_its_age() -> None:
    """An empty call then delivers it."""
    rows = ListSink(limits=SOON)
    with talk(rows) as talking:
        assert talking.daemon.records(record(1)) == []
        talking.now = 4.9
        assert talking.daemon.records() == []
        assert rows.ids == []
        talking.now = 5.0
        assert talking.daemon.records() == [place(1)]
        assert talking.daemon.records() == []
    assert rows.ids == event_ids([1])


def test_a_batch_contains_all_user_records_of_a_kinesis_record() -> None:
    """The checkpoint names the last sub-sequence number; each row keeps its own."""
    rows = ListSink(limits=BatchLimits(rows=2))
    parts = [record(n, sub=n, sequence=0) for n in range(3)]
    with talk(rows) as talking:
        assert talking.daemon.records(*parts, record(10), record(11)) == [place(0, 2), place(11)]
    assert [len(write) for write in rows.writes] == [3, 2]
    assert [line["sub_sequence_number"] for line in rows.lines] == [0, 1, 2, 0, 0]


def test_data_that_is_not_an_event_becomes_a_dead_letter() -> None:
    """A corrupt aggregate is such data, because KCL passes it on as a plain record."""
    rows, letters = ListSink(limits=AT_ONCE), ListSink()
    corrupt = b"\xf3\x89\x9a\xc2 not an aggregate"
    with talk(rows, letters) as talking:
        assert talking.daemon.records(record(1, data=corrupt)) == [place(1)]
        assert talking.daemon.records(record(2, data=b"")) == [place(2)]
    assert [line["reason"] for line in letters.lines] == ["not-json", "not-json"]
    assert base64.b64decode(letters.lines[0]["data"]) == corrupt
    assert letters.lines[0]["sequence_number"] == str(SEQUENCE + 1)


def test_skipped_events_move_the_checkpoint() -> None:
    """Nothing is written for them."""
    rows = ListSink(limits=SOON)
    with talk(rows) as talking:
        talking.daemon.records(record(1, data=numbered_event(1, "com.twilio.other")))
        talking.now = 6.0
        assert talking.daemon.records() == [place(1)]
    assert rows.writes == []


def test_a_failed_write_is_retried_before_the_status() -> None:
    """No checkpoint and no status is sent until the sink has written the batch."""
    rows = ListSink(SinkUnavailable(), SinkUnavailable("still"), limits=AT_ONCE)
    with capture_logs() as logs, talk(rows) as talking:
        assert talking.daemon.records(record(1)) == [place(1)]
        assert rows.raises == []
    assert rows.ids == event_ids([1])
    assert [log["event"] for log in logs].count("shard.waiting") == 2


def test_an_unforeseen_error_is_retried_without_its_text() -> None:
    """An exit would end all shards of the daemon, and the text may hold personal data."""
    rows = ListSink(KeyError("+15550100"), limits=AT_ONCE)
    with capture_logs() as logs, talk(rows) as talking:
        assert talking.daemon.records(record(1)) == [place(1)]
    assert "shard.halted" in [log["event"] for log in logs]
    assert "+1555" not in str(logs)


def test_a_rejected_checkpoint_of_a_lost_lease_drops_all_records() -> None:
    """Neither the buffer nor later records are written, and no checkpoint is sent again."""
    rows = ListSink(limits=BatchLimits(rows=2))
    with talk(rows) as talking:
        talking.daemon.errors = ["ShutdownException"]
        assert talking.daemon.records(*(record(n) for n in range(5))) == [place(1)]
        assert talking.daemon.records(*(record(n) for n in range(5, 9))) == []
        assert talking.daemon.say("leaseLost") == []
        assert talking.end() is Exit.DONE
    assert rows.ids == event_ids([0, 1])


@pytest.mark.parametrize("error", ["ThrottlingException", "KinesisClientLibDependencyException"])
def test_a_throttled_checkpoint_is_repeated(error: str) -> None:
    """The rows are not written again."""
    rows = ListSink(limits=AT_ONCE)
    with talk(rows) as talking:
        talking.daemon.errors = [error, error]
        assert talking.daemon.records(record(1)) == [place(1)] * 3
    assert rows.ids == event_ids([1])


@pytest.mark.parametrize("error", ["InvalidStateException", "IllegalArgumentException", "NullPointerException"])
def test_a_checkpoint_rejected_for_another_reason_ends_the_process(error: str) -> None:
    """The exit code is 1 and no status is sent, so the daemon ends and its supervisor notices."""
    with capture_logs() as logs, talk(ListSink(limits=AT_ONCE)) as talking:
        talking.daemon.errors = [error]
        with pytest.raises(EOFError):
            talking.daemon.records(record(1))
        assert talking.end() is Exit.UNEXPECTED
    assert error in str(logs)


def test_a_lost_lease_drops_the_buffer() -> None:
    """The next owner reads those records again."""
    rows = ListSink(limits=SOON)
    with talk(rows) as talking:
        talking.daemon.records(record(1))
        assert talking.daemon.say("leaseLost") == []
        assert talking.end() is Exit.DONE
    assert rows.ids == []


def test_the_end_of_a_shard_delivers_the_buffer_and_checkpoints_the_end() -> None:
    """KCL requires a last checkpoint without a sequence number."""
    rows = ListSink(SinkUnavailable(), limits=SOON)
    with talk(rows) as talking:
        talking.daemon.records(record(1))
        talking.daemon.errors = ["ThrottlingException"]
        assert talking.daemon.say("shardEnded") == [place(1), place(1), (None, None)]
        assert talking.end() is Exit.DONE
    assert rows.ids == event_ids([1])


def test_a_shutdown_delivers_and_checkpoints_the_buffer() -> None:
    """The child has nothing left to deliver."""
    rows = ListSink(limits=SOON)
    with talk(rows) as talking:
        talking.daemon.records(record(1))
        assert talking.daemon.say("shutdownRequested") == [place(1)]
        assert talking.daemon.say("leaseLost") == []
        assert talking.end() is Exit.DONE
    assert rows.ids == event_ids([1])


def test_a_shutdown_does_not_wait_for_an_unavailable_sink() -> None:
    """The checkpoint stays, and the next owner delivers."""
    rows = ListSink(SinkUnavailable(), limits=SOON)
    with talk(rows, patience=0.0) as talking:
        talking.daemon.records(record(1))
        assert talking.daemon.say("shutdownRequested") == []
        assert talking.end() is Exit.DONE
    assert rows.ids == []


def test_a_killed_daemon_ends_its_child_while_the_sink_is_down() -> None:
    """An orphan would write under a lease of another worker. Exit code 3 says that records were left."""
    rows = ListSink(*(SinkUnavailable() for _ in range(1000)), limits=AT_ONCE)
    with talk(rows) as talking:
        talking.daemon.send("processRecords", records=[record(1)])
        assert talking.end() is Exit.NOT_DRAINED
    assert rows.ids == []


def test_nothing_is_written_after_the_daemon_closed_the_pipe() -> None:
    """The child checks the pipe before each write, even when the sink works."""
    rows = ListSink(limits=AT_ONCE)
    reading, writing = os.pipe()
    message = {"action": "processRecords", "records": [record(1)]}
    os.write(writing, json.dumps(message).encode() + b"\n")
    os.close(writing)
    child = RecordProcessor(Wire(reading, 2), pipeline_to(rows), _decoder, lambda: 0.0, structlog.get_logger())
    assert child.run() is Exit.NOT_DRAINED
    os.close(reading)
    assert rows.ids == []


def test_waiting_for_a_sink_at_the_start_ends_with_the_daemon() -> None:
    """The wait itself notices the closed pipe, without another attempt."""

    class AwaySink(ListSink):
        tries = 0

        def check(self) -> None:
            self.tries += 1
            if self.tries < 100:
                raise SinkUnavailable

    rows = AwaySink()
    reading, writing = os.pipe()
    os.write(writing, b'{"action": "initialize", "shardId": "s"}\n')
    os.close(writing)
    child = RecordProcessor(Wire(reading, 2), pipeline_to(rows), _decoder, lambda: 0.0, structlog.get_logger())
    assert child.run() is Exit.DONE
    os.close(reading)
    assert rows.tries == 1


@pytest.mark.parametrize("line", [b"hello", b"[]", b'{"action": 7}', b'{"action": "dance"}'])
def test_an_invalid_message_ends_the_process(line: bytes) -> None:
    """Guessing its meaning could skip records."""
    with talk(ListSink()) as talking:
        os.write(talking.daemon._writing, b"\n" + line + b"\n")
        talking.thread.join(30)
        assert talking.code is Exit.UNEXPECTED


def run(directory: Path, *arguments: str, text: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "consumer", "kcl-daemon", *arguments],
        cwd=directory,
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_the_command_writes_only_the_protocol_to_standard_output(tmp_path: Path) -> None:
    """Logs go to standard error."""
    said = '{"action":"initialize","shardId":"s","sequenceNumber":"LATEST"}\n{"action":"leaseLost"}\n'
    done = run(tmp_path, "stream", "--sink", "sqlite:rows.db", text=said)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["responseFor"] for line in done.stdout.split()] == ["initialize", "leaseLost"]
    assert "child.started" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["stream"], "--sink stdout: standard output carries the daemon's protocol"),
        (
            ["stream", "--sink", "sqlite:r.db", "--dead-letters", "stdout:"],
            "--dead-letters stdout: standard output carries",
        ),
        (["--sink", "sqlite:r.db"], "name the stream: call-consumer kcl-daemon STREAM"),
        (["stream", "--sink", "jsonl:my rows", "--properties"], "the daemon splits its command at spaces"),
    ],
)
def test_a_configuration_error_is_one_line(tmp_path: Path, arguments: list[str], said: str) -> None:
    """The exit code is 2."""
    done = run(tmp_path, *arguments)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    event = json.loads(line)["event"]
    assert event.startswith("call-consumer: ")
    assert said in event


def test_a_sink_that_cannot_work_ends_the_process_before_its_first_status(tmp_path: Path) -> None:
    """The daemon then ends too, instead of reading records that cannot be delivered."""
    (tmp_path / "rows").write_text("a file")
    done = run(tmp_path, "s", "--sink", "jsonl:rows/here", text='{"action":"initialize","shardId":"s"}\n')
    assert (done.returncode, done.stdout) == (2, "")


def parsed(text: str) -> dict[str, str]:
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return dict(line.split(" = ", 1) for line in lines)


def test_the_properties_follow_the_settings() -> None:
    """Durations are in milliseconds, and our choices replace KCL's defaults."""
    arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/events"
    made = parsed(properties(load({"stream": arn, "from_": "latest", "max_leases": 4}, None, {}), ["call-consumer"]))
    assert made["streamArn"] == arn
    assert made["regionName"] == "eu-west-1"
    assert made["applicationName"] == "events"
    assert made["initialPositionInStream"] == "LATEST"
    assert made["maxLeasesForWorker"] == "4"
    assert made["failoverTimeMillis"] == "10000"
    assert made["shutdownGraceMillis"] == "30000"
    assert made["retrievalMode"] == "POLLING"
    assert made["callProcessRecordsEvenForEmptyRecordList"] == "true"
    assert "timeoutInSeconds" not in made


def test_a_start_time_is_in_epoch_seconds() -> None:
    """KCL has a separate property for it."""
    made = parsed(properties(load({"stream": "s", "from_": "2026-01-01T00:00:00Z"}, None, {}), ["x"]))
    assert made["initialPositionInStreamExtended"] == "1767225600"
    assert "initialPositionInStream" not in made


def test_values_are_escaped_as_java_reads_them() -> None:
    """Backslashes and characters outside ASCII are escaped."""
    made = parsed(properties(load({"stream": "s", "application": "käl\\"}, None, {}), ["x"]))
    assert made["applicationName"] == "k\\u00e4l\\\\"


def test_the_daemon_starts_the_same_command() -> None:
    """Flags are passed on, and a file by its absolute path."""
    command = _command({"stream": "s", "sink": "sqlite:r.db", "raw": True, "region": None, "from_": "2h"}, "c.toml")
    assert command[command.index("kcl-daemon") :] == [
        *("kcl-daemon", "--sink", "sqlite:r.db", "--raw", "--from", "2h"),
        *("--config", str(Path("c.toml").absolute()), "s"),
    ]


def test_a_command_with_a_space_is_rejected() -> None:
    """The daemon splits its command at spaces and supports no quotes."""
    with pytest.raises(ConfigurationError, match="splits its command"):
        properties(load({"stream": "s"}, None, {}), ["call consumer"])
