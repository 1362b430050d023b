"""A lease as an item of Amazon KCL's table, attribute by attribute, and back.

Names, types and sentinels are those of KCL's DynamoDBLeaseSerializer, so that a KCL reads what this program writes and
the other way round. What is ours alone has names that begin with `cc_`; KCL only ever sends updates of single
attributes, so it leaves them in place. Nothing here calls DynamoDB.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from consumer.leases import Lease, Pending, Token
from consumer.records import FULL_HASH_RANGE, Position, PositionKind

Attribute = Mapping[str, Any]  # one typed value: {"S": "shardId-000000000000"}, {"N": "7"}, ...
Item = Mapping[str, Attribute]

KEY = "leaseKey"
CHECKPOINT = "checkpoint"
MARK = b"call-consumer:"  # how a pendingCheckpointState of ours begins; name and version of the batch follow
SENTINELS = {rank.name: rank for rank in PositionKind if rank is not PositionKind.SEQUENCE}
SHARD_END = {"S": PositionKind.SHARD_END.name}


class Unreadable(ValueError):
    """An item that looks like a lease, and lacks what each of them has. It is left as it is."""


class MultiStream(Unreadable):
    """A lease of a KCL that reads several streams: its keys name account, stream, epoch and shard."""


# From an item to a lease ----------------------------------------------------------------------------------------------


def is_lease(item: Item) -> bool:
    """Tell leases from what KCL 3.5 keeps beside them: its leader, its migration, its workers' metrics.

    An item without a counter is none, unless its key is a shard's: then the lease is damaged, and nobody may read the
    shard as if it had no row.
    """
    if "entityType" in item:
        return bool(item["entityType"].get("S") == "LEASE")
    return "leaseCounter" in item or (CHECKPOINT in item and "shardId-" in item[KEY].get("S", ""))


def lease_of(item: Item) -> Lease:
    """Read one lease.

    Raises:
        MultiStream: it belongs to a KCL that reads several streams.
        Unreadable: an attribute that every lease has is missing or of another type.
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
    )


def _value(item: Item, name: str, kind: str) -> Any:
    if name not in item:
        raise Unreadable(f"it has no {name}")
    if kind not in item[name]:
        raise Unreadable(f"its {name} is not of type {kind}")
    return item[name][kind]


def _string(item: Item, name: str) -> str:
    return str(_value(item, name, "S"))


def _integer(item: Item, name: str) -> int:
    text = _value(item, name, "N")
    try:
        return int(text)
    except ValueError:
        raise Unreadable(f"its {name} is no whole number") from None


def _names(item: Item, name: str) -> tuple[str, ...]:
    """A set of shard ids; DynamoDB promises no order, so it is sorted."""
    return tuple(sorted(_value(item, name, "SS"))) if name in item else ()


def _position(item: Item, name: str, sub_name: str) -> Position:
    """A sentinel or a sequence number. AT_TIMESTAMP has no instant: KCL keeps that in its workers' configuration."""
    text, sub_sequence = _string(item, name), _integer(item, sub_name)
    if text in SENTINELS:
        return Position(SENTINELS[text])
    if not (text.isascii() and text.isdigit()):
        raise Unreadable(f"its {name} is neither a sequence number nor a sentinel")
    return Position.of(int(text), sub_sequence)


def _hash_range(item: Item) -> tuple[int, int]:
    """The range, or the whole of it where a KCL 1.x has left it out."""
    if "startingHashKey" not in item or "endingHashKey" not in item:
        return FULL_HASH_RANGE
    try:
        return int(_string(item, "startingHashKey")), int(_string(item, "endingHashKey"))
    except ValueError:
        raise Unreadable("its hash range is not in numbers") from None


def _token(item: Item) -> Token | None:
    if "cc_token" not in item:
        return None
    try:
        counter, start, worker_id = _string(item, "cc_token").split(" ", 2)
        return Token(worker_id, start, int(counter))
    except ValueError:
        raise Unreadable("its cc_token is not of this program") from None


def _pending(item: Item) -> Pending | None:
    """A prepared batch of ours. A KCL application's has no mark: it is not read, and goes with the next checkpoint."""
    state = item.get("pendingCheckpointState", {}).get("B", b"")
    if not bytes(state).startswith(MARK) or "pendingCheckpoint" not in item:
        return None
    end = _position(item, "pendingCheckpoint", "pendingCheckpointSubSequenceNumber")
    return Pending.stored(end, bytes(state)[len(MARK) :].decode())


def _instant(item: Item, name: str) -> datetime | None:
    if name not in item:
        return None
    try:
        return datetime.fromisoformat(_string(item, name)).astimezone(UTC)
    except ValueError:
        raise Unreadable(f"its {name} is no time") from None


# From a lease to an item ----------------------------------------------------------------------------------------------


def item_of(lease: Lease) -> dict[str, Attribute]:
    """The whole item, with everything that a KCL expects on each."""
    return {name: value for name, value in attributes_of(lease, FIELDS).items() if value is not None}


def attributes_of(lease: Lease, fields: Collection[str]) -> dict[str, Attribute | None]:
    """What some of its fields are as attributes; None: the attribute has to be absent."""
    return dict(pair for field in _WRITERS if field in fields for pair in _written(lease, field))


Written = Iterator[tuple[str, Attribute | None]]


def _written(lease: Lease, field: str) -> Written:
    return _WRITERS[field](getattr(lease, field))


def _as(name: str, attribute: Callable[[Any], Attribute | None]) -> Callable[[Any], Written]:
    """A field that is one attribute, absent when there is nothing to say."""

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
    return {"S": str(position.sequence) if position.rank is PositionKind.SEQUENCE else position.rank.name}


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
}
FIELDS = tuple(_WRITERS)
