"""Convert a lease to the columns of a SQLite row and back. SQLite does not check types, so check every column here."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

import msgspec

from consumer.leases.halt import Halt
from consumer.leases.lease import Lease, Pending, Token, UnreadableRow
from consumer.records import Position, PositionKind

FIELDS = tuple(field.name for field in fields(Lease))


def stored(lease: Lease, names: Iterable[str]) -> dict[str, Any]:
    """Return the column values of the fields `names`."""
    return {name: _column(getattr(lease, name)) for name in names}


def lease_of(row: Sequence[Any]) -> Lease:
    """Return the lease in a row with the columns `FIELDS`.

    Raises:
        UnreadableRow: a column is damaged.
    """
    found: dict[str, Any] = {}
    damaged = []
    for name, column in zip(FIELDS, row, strict=True):
        try:
            found[name] = READERS[name](column)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
            damaged.append(name)
    if damaged:
        raise UnreadableRow(f"{', '.join(damaged)} cannot be read")
    return Lease(**found)


def _column(value: Any) -> Any:
    """Return the column value of a field. Numbers too large for SQLite become decimal strings in JSON."""
    if isinstance(value, Position):
        return (
            str(value.sequence) + "." + str(value.sub_sequence)
            if value.kind is PositionKind.SEQUENCE
            else value.kind.name
        )
    if isinstance(value, Halt):
        return value.text
    if isinstance(value, Pending):
        return msgspec.json.encode([_column(value.end), value.text]).decode()
    if isinstance(value, tuple):
        return msgspec.json.encode([str(item) for item in value]).decode()
    if isinstance(value, datetime):
        return value.isoformat()
    return value


def _text(column: object) -> str:
    if not isinstance(column, str) or not column:
        raise ValueError
    return column


def _whole(column: object) -> int:
    if type(column) is not int or column < 0:
        raise ValueError
    return column


def _number(column: object) -> float:
    if not isinstance(column, int | float):
        raise ValueError
    return float(column)


def _texts(column: object) -> tuple[str, ...]:
    return tuple(msgspec.json.decode(_text(column), type=list[str]))


def _hash_range(column: object) -> tuple[int, int]:
    low, high = _texts(column)
    return int(low), int(high)


def _token(column: object) -> Token:
    worker_id, start, counter = _texts(column)
    return Token(worker_id, start, int(counter))


def _pending(column: object) -> Pending:
    end, text = _texts(column)
    return Pending.stored(_position(end), text)


def _instant(column: object) -> datetime:
    instant = datetime.fromisoformat(_text(column))
    if instant.tzinfo is None:
        raise ValueError
    return instant


def _position(column: object) -> Position:
    sequence, dot, sub_sequence = _text(column).partition(".")
    return Position.of(int(sequence), int(sub_sequence)) if dot else Position(_sentinel(sequence))


def _sentinel(name: str) -> PositionKind:
    kind = PositionKind[name]
    if kind is PositionKind.SEQUENCE:
        raise ValueError
    return kind


def _or_none(reader: Callable[[object], Any]) -> Callable[[object], Any]:
    return lambda column: None if column is None else reader(column)


READERS: Mapping[str, Callable[[object], Any]] = {
    "shard_id": _text,
    "checkpoint": _position,
    "parents": _texts,
    "children": _texts,
    "hash_range": _hash_range,
    "owner": _or_none(_text),
    "checkpoint_owner": _or_none(_text),
    "counter": _whole,
    "switches": _whole,
    "token": _or_none(_token),
    "pending": _or_none(_pending),
    "started_at": _or_none(_instant),
    "stream_created_at": _or_none(_instant),
    "read_to": _or_none(_instant),
    "throughput": _or_none(_number),
    "wanted_by": _or_none(_text),
    "draining": lambda column: bool(_whole(column)),
    "lost_from": _or_none(_instant),
    "lost_to": _or_none(_instant),
    "halted": _or_none(lambda column: Halt.stored(_text(column))),
}
