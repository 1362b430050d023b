"""Show stored dead letters: as rows of a table, and one in detail. Values are masked unless asked for."""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from consumer.dead_letters import StoredDeadLetter
from consumer.dead_letters.attempt import Attempt
from consumer.dead_letters.ledger import Entry
from consumer.dead_letters.masking import HIDDEN, masked, masked_row, printable

MOST_SHOWN = 4096  # bytes of data that `show` prints


def listed(letter: StoredDeadLetter, entries: Sequence[Entry]) -> dict[str, object]:
    """Return the line of `list` for people."""
    return {
        "id": letter.id,
        "arrived_at": letter.arrived_at,
        "shard": letter.shard_id,
        "record": f"{letter.sequence_number}.{letter.sub_sequence_number}[{letter.event_index}]",
        "reason": letter.reason,
        "redriven": _redriven(entries),
        "message": letter.message,
    }


def described(letter: StoredDeadLetter, entries: Sequence[Entry]) -> dict[str, object]:
    """Return the object of `list --json`: every field but partition key and data, which may be personal."""
    fields = {name: getattr(letter, name) for name in letter.__struct_fields__ if name not in ("partition_key", "data")}
    size = None if letter.data is None else len(letter.data)
    return {"id": letter.id, **fields, "bytes": size, "redriven": [entry._asdict() for entry in entries]}


def detailed(letter: StoredDeadLetter, entries: Sequence[Entry], found: Attempt, reveal: bool) -> dict[str, object]:
    """Return the object of `show --json`."""
    today: dict[str, object] = {"result": found.result.value}
    if found.rows:
        today["rows"] = [_row(row.line, reveal) for row in found.rows]
    if found.reason:
        today |= {"reason": found.reason, "message": found.message}
    data = letter.data if letter.data is None else _encoded(letter.data, reveal)
    key = letter.partition_key if reveal else HIDDEN
    return {**described(letter, entries), "partition_key": key, "today": today, "data": data, "masked": not reveal}


def lines(letter: StoredDeadLetter, entries: Sequence[Entry], found: Attempt, reveal: bool) -> Iterator[str]:
    """Yield the lines of `show` for people."""
    yield f"{letter.id}  {letter.reason}: {letter.message}"
    yield f"  stream         {letter.stream_name} {letter.shard_id}"
    yield f"  record         {letter.sequence_number}.{letter.sub_sequence_number}, event {letter.event_index}"
    yield f"  partition key  {printable(letter.partition_key.encode()) if reveal else HIDDEN}"
    yield f"  arrived        {letter.arrived_at}; rejected {letter.rejected_at} by {letter.worker_version}"
    yield f"  redriven       {_redriven(entries) or 'no'}"
    yield f"  today          {found.result.value}{f' ({found.reason}: {found.message})' if found.reason else ''}"
    for row in found.rows:
        members = {name: value for name, value in _row(row.line, reveal).items() if value is not None}
        yield f"    {printable(json.dumps(members, ensure_ascii=False).encode())}"
    yield from _data(letter.data, reveal)


def _data(data: bytes | None, reveal: bool) -> Iterator[str]:
    if data is None:
        yield "  data           left out"
        return
    yield f"  data           {len(data)} bytes{'' if reveal else ', masked: --reveal shows them'}"
    shown = data[:MOST_SHOWN] if reveal else masked(data[:MOST_SHOWN])
    for line in printable(shown).splitlines():
        yield f"    {line}"
    if len(data) > MOST_SHOWN:
        yield f"    … {len(data) - MOST_SHOWN} more bytes: export writes all"


def _row(line: bytes, reveal: bool) -> Mapping[str, Any]:
    row: dict[str, Any] = json.loads(line)
    return row if reveal else masked_row(row)


def _encoded(data: bytes, reveal: bool) -> str:
    """Return revealed data in base64, because it may be binary; masked data as text."""
    return base64.b64encode(data).decode() if reveal else printable(masked(data[:MOST_SHOWN]))


def _redriven(entries: Sequence[Entry]) -> str:
    return ", ".join(f"{entry.state} {entry.at} {entry.destination}" for entry in entries)
