"""Parse a lease item as Amazon's KCL does, to see whether a KCL worker would throw.

This models DynamoDBLeaseSerializer, Lease and ExtendedSequenceNumber of KCL 2.x and 3.x by their behaviour. Types are
fixed, five attributes are mandatory (Java throws NullPointerException on a missing one), sets are never empty, and
sequence numbers are digits or a sentinel. Where versions differ, this is the strictest: some accept a missing
sub-sequence number as 0. KCL up to 3.4 reads *every* item of the table like this, and one that throws stops the whole
fleet.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Item = Mapping[str, Mapping[str, Any]]

SENTINELS = ("AT_TIMESTAMP", "TRIM_HORIZON", "LATEST", "SHARD_END")
LARGEST_LONG = 2**63 - 1


class KclThrows(Exception):
    """KCL would throw an exception in Java."""


@dataclass(frozen=True)
class KclLease:
    """A lease as a KCL worker holds it in memory."""

    key: str
    owner: str | None
    counter: int
    switches: int
    checkpoint: tuple[str, int]
    parents: frozenset[str]
    children: frozenset[str]
    pending: tuple[str, int] | None
    pending_state: bytes | None
    hash_range: tuple[int, int] | None
    throughput: float | None
    checkpoint_owner: str | None


def parse(item: Item) -> KclLease:
    """Parse one item.

    Raises:
        KclThrows: KCL would throw.
    """
    pending = _string(item, "pendingCheckpoint")
    return KclLease(
        key=_present(_string(item, "leaseKey"), "leaseKey"),
        owner=_string(item, "leaseOwner"),
        counter=_present(_long(item, "leaseCounter"), "leaseCounter"),
        switches=_present(_long(item, "ownerSwitchesSinceCheckpoint"), "ownerSwitchesSinceCheckpoint"),
        checkpoint=_sequence(
            _string(item, "checkpoint"), _present(_long(item, "checkpointSubSequenceNumber"), "checkpointSubSequence…")
        ),
        parents=_set(item, "parentShardId"),
        children=_set(item, "childShardIds"),
        pending=_sequence(pending, _long(item, "pendingCheckpointSubSequenceNumber") or 0) if pending else None,
        pending_state=_bytes(item, "pendingCheckpointState") if pending else None,
        hash_range=_hash_range(_string(item, "startingHashKey"), _string(item, "endingHashKey")),
        throughput=_double(item, "throughputKBps"),
        checkpoint_owner=_string(item, "checkpointOwner"),
    )


def _present(value: Any, name: str) -> Any:
    if value is None:
        raise KclThrows(f"NullPointerException: {name}")
    return value


def _typed(item: Item, name: str, kind: str) -> Any:
    """Return the value, or None if it has another type, as Java does."""
    return item[name].get(kind) if name in item else None


def _string(item: Item, name: str) -> str | None:
    text = _typed(item, name, "S")
    if text == "":
        raise KclThrows(f"{name} is an empty string, which KCL never writes and takes for an owner")
    return text if text is None else str(text)


def _long(item: Item, name: str) -> int | None:
    if name not in item:
        return None
    text = _present(_typed(item, name, "N"), name)
    if not str(text).removeprefix("-").isdigit() or abs(int(text)) > LARGEST_LONG:
        raise KclThrows(f"NumberFormatException: {name}")
    return int(text)


def _double(item: Item, name: str) -> float | None:
    return float(_present(_typed(item, name, "N"), name)) if name in item else None


def _bytes(item: Item, name: str) -> bytes | None:
    return bytes(_present(_typed(item, name, "B"), name)) if name in item else None


def _set(item: Item, name: str) -> frozenset[str]:
    if name not in item:
        return frozenset()
    values = _present(_typed(item, name, "SS"), name)
    if not values:
        raise KclThrows(f"{name} is an empty set, which DynamoDB refuses")
    return frozenset(values)


def _sequence(text: str | None, sub_sequence: int) -> tuple[str, int]:
    """Parse a sequence number. A sentinel needs sub-sequence 0; all else is compared by its digits."""
    if text in SENTINELS:
        if sub_sequence:
            raise KclThrows(f"{text} with a sub-sequence equals no sentinel of KCL's")
        return str(text), 0
    if text is None or not (text.isascii() and text.isdigit()):
        raise KclThrows("IllegalArgumentException: expected digits or a sentinel")
    return text, sub_sequence


def _hash_range(start: str | None, end: str | None) -> tuple[int, int] | None:
    if start is None or end is None:
        return None
    if not (start.isdigit() and end.isdigit() and int(start) <= int(end) < 2**128):
        raise KclThrows("IllegalArgumentException: hash key range")
    return int(start), int(end)
