"""Run a worker process with an embedded Kinesis."""

import json
import sqlite3
from pathlib import Path
from typing import Any

from consumer.decoding.deaggregation import aggregate
from tests.events import event_ids, numbered_event
from tests.integration.workers import STREAM, ids, run


def test_every_event_becomes_a_row_a_skipped_event_or_a_dead_letter(
    kinesis: Any, endpoint: str, tmp_path: Path
) -> None:
    """Plain and aggregated events arrive once each, and a second run repeats nothing."""
    for number in range(20):
        kinesis.put_record(StreamName=STREAM, PartitionKey=str(number), Data=numbered_event(number))
    kinesis.put_record(
        StreamName=STREAM, PartitionKey="a", Data=aggregate([(str(n), numbered_event(n)) for n in range(20, 50)])
    )
    kinesis.put_record(StreamName=STREAM, PartitionKey="b", Data=b"no json")
    kinesis.put_record(
        StreamName=STREAM, PartitionKey="c", Data=numbered_event(99, "com.twilio.messaging.message.sent")
    )
    done = run(tmp_path, endpoint, "--sink", "jsonl:rows", "--until-caught-up")
    assert done.returncode == 0, done.stderr
    assert sorted(ids(tmp_path / "rows")) == event_ids(range(50))
    assert "written 50" in done.stderr
    assert "skipped 1" in done.stderr
    assert "dead letters 1" in done.stderr
    assert "+1555" not in done.stderr
    [letters] = (tmp_path / "dead-letters").rglob("*.dead-letters")
    assert json.loads(letters.read_text())["reason"] == "not-json"
    assert letters.stat().st_mode & 0o777 == 0o600
    again = run(tmp_path, endpoint, "--sink", "jsonl:rows", "--until-caught-up")
    assert again.returncode == 0, again.stderr
    assert len(ids(tmp_path / "rows")) == 50


def test_sqlite_stores_each_event_once_however_often_it_is_sent(kinesis: Any, endpoint: str, tmp_path: Path) -> None:
    """Duplicates from Twilio have the same event identity."""
    for _ in range(3):
        kinesis.put_record(StreamName=STREAM, PartitionKey="a", Data=numbered_event(1))
    done = run(tmp_path, endpoint, "--sink", "sqlite:rows.db", "--until-caught-up")
    assert done.returncode == 0, done.stderr
    assert "repeated 2" in done.stderr
    database = sqlite3.connect(tmp_path / "rows.db")
    assert database.execute("SELECT count(*) FROM call_requests").fetchone() == (1,)
    database.close()
