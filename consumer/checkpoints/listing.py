"""Show the checkpoints of an application as a table or as JSON."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from consumer.checkpoints.document import text_of
from consumer.leases import Halt, Lease
from consumer.records import PositionKind, rfc3339
from consumer.runtime.durations import span

HEAD = ("shard", "read up to", "behind", "owner", "checkpoint")


def table(rows: Iterable[Lease], damaged: Mapping[str, str], now: datetime) -> Iterator[str]:
    """Yield the lines of a table with one line per row. `now`: the time that "behind" is counted from."""
    lines = [HEAD, *(_cells(row, now) for row in _sorted(rows))]
    lines += [(shard_id, "damaged", "", "", why) for shard_id, why in sorted(damaged.items())]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    for line in lines:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def as_json(rows: Iterable[Lease], damaged: Mapping[str, str]) -> str:
    """Return the rows as one JSON array, sorted by shard."""
    found: list[dict[str, object]] = [_fields(row) for row in _sorted(rows)]
    found += [{"shard_id": shard_id, "damaged": why} for shard_id, why in sorted(damaged.items())]
    return json.dumps(found, indent=2)


def _sorted(rows: Iterable[Lease]) -> Sequence[Lease]:
    return sorted(rows, key=lambda row: row.shard_id)


def _cells(row: Lease, now: datetime) -> tuple[str, ...]:
    if row.ended:
        return row.shard_id, "its end", "", "", "SHARD_END"
    reached = f"{row.read_to:%F %T}" if row.read_to is not None else "?"
    behind = span(max(0.0, (now - row.read_to).total_seconds())) if row.read_to is not None else "?"
    return row.shard_id, reached, behind, _owner(row), _position(row)


def _owner(row: Lease) -> str:
    return row.checkpoint_owner or row.owner or "-"


def _position(row: Lease) -> str:
    at = f" since {rfc3339(row.started_at)}" if row.started_at is not None else ""
    halted = f", {_halt(row.halted)}" if row.halted is not None else ""
    pending = f", batch prepared up to {text_of(row.pending.end)}" if row.pending is not None else ""
    return text_of(row.checkpoint) + (at if row.checkpoint.kind is not PositionKind.SEQUENCE else "") + pending + halted


def _halt(halt: Halt) -> str:
    return f"skips {halt.sequence}" if halt.skip else f"halted by {halt.reason} at {halt.sequence}"


def _fields(row: Lease) -> dict[str, object]:
    return {
        "shard_id": row.shard_id,
        "checkpoint": text_of(row.checkpoint),
        "ended": row.ended,
        "read_to": _time(row.read_to),
        "started_at": _time(row.started_at),
        "owner": row.checkpoint_owner or row.owner,
        "counter": row.counter,
        "parents": list(row.parents),
        "children": list(row.children),
        "pending": text_of(row.pending.end) if row.pending is not None else None,
        "halted": row.halted and row.halted._asdict() | {"sequence": str(row.halted.sequence)},
        "lost_from": _time(row.lost_from),
        "lost_to": _time(row.lost_to),
    }


def _time(moment: datetime | None) -> str | None:
    return rfc3339(moment) if moment is not None else None
