"""Convert a lease to an item of Amazon KCL's lease table and back. Nothing here calls DynamoDB.

Names, types and sentinels are those of KCL's DynamoDBLeaseSerializer, so that each program can read the other's items.
Attributes that only this program uses start with `cc_`. KCL updates single attributes, so it leaves them in place.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from consumer.leases import Halt, Lease, Pending, Token
from consumer.leases.lease import UnreadableRow
from consumer.records import FULL_HASH_RANGE, Position, PositionKind

Attribute = Mapping[str, Any]  # one typed value: {"S": "shardId-000000000000"}, {"N": "7"}, ...
Item = Mapping[str, Attribute]

KEY = "leaseKey"
CHECKPOINT = "checkpoint"
MARK = b"call-consumer:"  # starts our pendingCheckpointState, before the name and version of the batch
SENTINELS = {kind.name: kind for kind in PositionKind if kind is not PositionKind.SEQUENCE}
SHARD_END = {"S": PositionKind.SHARD_END.name}


class MultiStream(UnreadableRow):
    """The lease belongs to a KCL that reads several streams. Its key contains account, stream, epoch and shard."""


# From an item to a lease ----------------------------------------------------------------------------------------------


def is_lease(item: Item) -> bool:
    """Return whether an item is a lease. KCL 3.5 also stores leader, migration and worker metrics in the table.

    An item without a counter is only a lease if its key is a shard's. Such a lease is damaged; its shard must not be
    treated as one without a row.
    """
    if "entityType" in item:
        return bool(item["entityType"].get("S") == "LEASE")
    return "leaseCounter" in item or (CHECKPOINT in item and "shardId-" in item[KEY].get("S", ""))


def lease_of(item: Item) -> Lease:
    """Return the lease in an item.

    Raises:
        MultiStream: the lease belongs to a KCL that reads several streams.
        UnreadableRow: a required attribute is missing or has the wrong type.
    """
    shard_id = _string(item, KEY)
    if "streamName" in item or ":" in shard_id:
        raise MultiStream("it is of a KCL that reads several streams")
    return Lease(
        shard_id,
        checkpoint=_position(item, CHECKPOINT, "checkpointSubSequenceNumber"),
        parents=_names(item, "parentShardId"),
        children=_names(item, "childShardIds"),
        hash_range=_hash_range(item),
        owner=_string(item, "leaseOwner") if "leaseOwner" in item else None,
        checkpoint_owner=_string(item, "checkpointOwner") if "checkpointOwner" in item else None,
        counter=_integer(item, "leaseCounter"),
        switches=_integer(item, "ownerSwitchesSinceCheckpoint"),
        token=_token(item),
        pending=_pending(item),
        started_at=_instant(item, "cc_startedAt"),
        stream_created_at=_instant(item, "cc_streamCreatedAt"),
        read_to=_instant(item, "cc_readTo"),
        throughput=float(_value(item, "throughputKBps", "N")) if "throughputKBps" in item else None,
        wanted_by=_string(item, "cc_wantedBy") if "cc_wantedBy" in item else None,
        draining="cc_draining" in item,
        lost_from=_instant(item, "cc_lostFrom"),
        lost_to=_instant(item, "cc_lostTo"),
        halted=_halt(item),
    )


def _value(item: Item, name: str, kind: str) -> Any:
    if name not in item:
        raise UnreadableRow(f"it has no {name}")
    if kind not in item[name]:
        raise UnreadableRow(f"its {name} is not of type {kind}")
    return item[name][kind]


def _string(item: Item, name: str) -> str:
    return str(_value(item, name, "S"))


def _integer(item: Item, name: str) -> int:
    text = _value(item, name, "N")
    try:
        return int(text)
    except ValueError:
        raise UnreadableRow(f"its {name} is not a whole number") from None


def _names(item: Item, name: str) -> tuple[str, ...]:
    """Return a set of shard ids, sorted, because DynamoDB returns sets in any order."""
    return tuple(sorted(_value(item, name, "SS"))) if name in item else ()


def _position(item: Item, name: str, sub_name: str) -> Position:
    """Return a sentinel or a sequence number. AT_TIMESTAMP has no `at`: KCL does not store the instant."""
    text, sub_sequence = _string(item, name), _integer(item, sub_name)
    if text in SENTINELS:
        return Position(SENTINELS[text])
    if not (text.isascii() and text.isdigit()):
        raise UnreadableRow(f"its {name} is neither a sequence number nor a sentinel")
    return Position.of(int(text), sub_sequence)


def _hash_range(item: Item) -> tuple[int, int]:
    """Return the hash range, or the full range for an item of KCL 1.x, which does not store it."""
    if "startingHashKey" not in item or "endingHashKey" not in item:
        return FULL_HASH_RANGE
    try:
        return int(_string(item, "startingHashKey")), int(_string(item, "endingHashKey"))
    except ValueError:
        raise UnreadableRow("its hash range is not in numbers") from None


def _token(item: Item) -> Token | None:
    if "cc_token" not in item:
        return None
    try:
        counter, start, worker_id = _string(item, "cc_token").split(" ", 2)
        return Token(worker_id, start, int(counter))
    except ValueError:
        raise UnreadableRow("its cc_token is not one that this program writes") from None


def _pending(item: Item) -> Pending | None:
    """Return our pending checkpoint. Ignore a KCL application's, which lacks `MARK`: the next checkpoint removes it."""
    state = item.get("pendingCheckpointState", {}).get("B", b"")
    if not bytes(state).startswith(MARK) or "pendingCheckpoint" not in item:
        return None
    end = _position(item, "pendingCheckpoint", "pendingCheckpointSubSequenceNumber")
    return Pending.stored(end, bytes(state)[len(MARK) :].decode())


def _halt(item: Item) -> Halt | None:
    try:
        return Halt.stored(_string(item, "cc_halted")) if "cc_halted" in item else None
    except ValueError:
        raise UnreadableRow("its cc_halted is not one that this program writes") from None


def _instant(item: Item, name: str) -> datetime | None:
    if name not in item:
        return None
    try:
        return datetime.fromisoformat(_string(item, name)).astimezone(UTC)
    except ValueError:
        raise UnreadableRow(f"its {name} is not a time") from None


# From a lease to an item ----------------------------------------------------------------------------------------------


def item_of(lease: Lease) -> dict[str, Attribute]:
    """Return the complete item, with all attributes that a KCL expects."""
    return {name: value for name, value in attributes_of(lease, FIELDS).items() if value is not None}


def attributes_of(lease: Lease, fields: Collection[str]) -> dict[str, Attribute | None]:
    """Return the attributes of the given fields. None means that the attribute must be absent."""
    return dict(pair for field in _WRITERS if field in fields for pair in _written(lease, field))


Written = Iterator[tuple[str, Attribute | None]]


def _written(lease: Lease, field: str) -> Written:
    return _WRITERS[field](getattr(lease, field))


def _as(name: str, attribute: Callable[[Any], Attribute | None]) -> Callable[[Any], Written]:
    """Return a writer for a field that is stored as one attribute, absent if its value is None."""

    def written(value: Any) -> Written:
        yield name, attribute(value)

    return written


def _text(value: str | None) -> Attribute | None:
    return None if value is None else {"S": value}


def _whole(value: int) -> Attribute:
    return {"N": str(value)}


def _set(values: Collection[str]) -> Attribute | None:
    return {"SS": sorted(set(values))} if values else None


def _time(value: datetime | None) -> Attribute | None:
    return None if value is None else {"S": value.astimezone(UTC).isoformat().replace("+00:00", "Z")}


def _kilobytes(value: float | None) -> Attribute | None:
    return None if value is None else {"N": f"{value:.6f}"}


def _flag(value: bool) -> Attribute | None:
    return {"BOOL": True} if value else None


def _token_text(token: Token | None) -> Attribute | None:
    return None if token is None else {"S": f"{token.counter} {token.start} {token.worker_id}"}


def _checkpoint(position: Position) -> Written:
    yield CHECKPOINT, _sequence(position)
    yield "checkpointSubSequenceNumber", _whole(position.sub_sequence)


def _sequence(position: Position) -> Attribute:
    return {"S": str(position.sequence) if position.kind is PositionKind.SEQUENCE else position.kind.name}


def _hash_keys(hash_range: tuple[int, int]) -> Written:
    yield "startingHashKey", {"S": str(hash_range[0])}
    yield "endingHashKey", {"S": str(hash_range[1])}


def _prepared(pending: Pending | None) -> Written:
    yield "pendingCheckpoint", _sequence(pending.end) if pending else None
    yield "pendingCheckpointSubSequenceNumber", _whole(pending.end.sub_sequence) if pending else None
    yield "pendingCheckpointState", {"B": MARK + pending.text.encode()} if pending else None


_WRITERS: dict[str, Callable[[Any], Written]] = {
    "shard_id": _as(KEY, _text),
    "checkpoint": _checkpoint,
    "parents": _as("parentShardId", _set),
    "children": _as("childShardIds", _set),
    "hash_range": _hash_keys,
    "owner": _as("leaseOwner", _text),
    "checkpoint_owner": _as("checkpointOwner", _text),
    "counter": _as("leaseCounter", _whole),
    "switches": _as("ownerSwitchesSinceCheckpoint", _whole),
    "token": _as("cc_token", _token_text),
    "pending": _prepared,
    "started_at": _as("cc_startedAt", _time),
    "stream_created_at": _as("cc_streamCreatedAt", _time),
    "read_to": _as("cc_readTo", _time),
    "throughput": _as("throughputKBps", _kilobytes),
    "wanted_by": _as("cc_wantedBy", _text),
    "draining": _as("cc_draining", _flag),
    "lost_from": _as("cc_lostFrom", _time),
    "lost_to": _as("cc_lostTo", _time),
    "halted": _as("cc_halted", lambda halt: _text(halt and halt.text)),
}
FIELDS = tuple(_WRITERS)
