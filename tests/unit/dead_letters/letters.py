"""Make stored dead letters, and put them where a worker would have written them."""

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from consumer.adapters import connect_dead_letters, connect_sink, row_schema
from consumer.dead_letters import DeadLetterStore, StoredDeadLetter
from consumer.dead_letters.stored import to_line
from tests.events import numbered_event

STREAM, SHARD = "twilio-events", "shardId-000000000000"
ROW_KEY = ("event_source", "event_id", "event_type")


def letter(number: int = 1, data: bytes | None = None, **changes: Any) -> StoredDeadLetter:
    """Return the dead letter of record `number`. By default its event becomes a row today: the sink rejected it."""
    values: dict[str, Any] = {
        "reason": "sink-rejected",
        "message": "it cannot be stored",
        "stream_name": STREAM,
        "shard_id": SHARD,
        "sequence_number": str(number),
        "sub_sequence_number": 0,
        "event_index": 0,
        "partition_key": "+15550199999",
        "arrived_at": f"2026-11-25T10:00:{number % 60:02d}.000Z",
        "data": numbered_event(number) if data is None else data,
        "rejected_at": "2026-11-25T11:00:00.000Z",
        "worker_version": "0.1.0",
    }
    return StoredDeadLetter(**{**values, **changes})


def put(scheme: str, directory: Path, letters: Sequence[StoredDeadLetter]) -> str:
    """Store dead letters as the worker does, three per file, and return their URL."""
    if scheme == "jsonl":
        for start in range(0, len(letters), 3):
            file = directory / "letters" / "dt=2026-11-25" / "hour=10" / f"{SHARD}-{start:05d}.dead-letters"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"".join(to_line(each) + b"\n" for each in letters[start : start + 3]))
        return f"jsonl:{directory / 'letters'}"
    connection = sqlite3.connect(directory / "letters.db")
    names = StoredDeadLetter.__struct_fields__
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS dead_letters ({', '.join(names)}, PRIMARY KEY (stream_name, shard_id,"
        " sequence_number, sub_sequence_number, event_index, reason))"
    )
    rows = [list(json.loads(to_line(each)).values()) for each in letters]
    connection.executemany(f"INSERT INTO dead_letters VALUES ({', '.join('?' * len(names))})", rows)
    connection.commit()
    connection.close()
    return f"sqlite:{directory / 'letters.db'}"


def opened(url: str, told: list[str] | None = None) -> DeadLetterStore:
    """Return the reader for a URL. What it cannot read is appended to `told`."""
    return connect_dead_letters(url, (told if told is not None else []).append)


def rows_of(url: str) -> list[str]:
    """Return the ids of the events in a sink, in order of the events."""
    scheme, _, path = url.partition(":")
    if scheme == "sqlite":
        connection = sqlite3.connect(path)
        found = [row[0] for row in connection.execute("SELECT event_id FROM call_requests")]
        connection.close()
    else:
        files = Path(path).rglob("*.jsonl")
        found = [json.loads(line)["event_id"] for file in files for line in file.read_text().splitlines()]
    return sorted(found)


def sink(url: str) -> Any:
    """Return the sink for rows of a URL."""
    return connect_sink("--sink", url, row_schema())
