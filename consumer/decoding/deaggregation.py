"""Split KPL aggregates into user records, and build aggregates for publishers.

The format is F3 89 9A C2, a protobuf message and its MD5
(https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md). A corrupt aggregate is rejected
as a whole: its digest covers all of it, so no single user record can be trusted.
"""

import hashlib
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import NamedTuple

from consumer.decoding.aggregates import CACHED, DIGEST_SIZE, MAGIC, Parts, corrupt, messages
from consumer.records import FULL_HASH_RANGE, Record, UserRecord

_HASH_KEY = re.compile("[0-9]{1,39}")  # decimal, of 128 bits


def is_aggregate(data: bytes) -> bool:
    """Return whether the data starts like a KPL aggregate."""
    return data.startswith(MAGIC)


class UserRecords(NamedTuple):
    """The user records of one Kinesis record. Iterate `found` once: it builds them one at a time.

    `total` counts all of them. `out_of_range` counts those whose hash key lies outside the shard. Keep these, because
    most producers never send them again. KPL since 0.15.11 does, so they may be duplicates.
    """

    found: Iterable[UserRecord]
    total: int
    out_of_range: int


def deaggregate(record: Record, hash_range: tuple[int, int] = FULL_HASH_RANGE) -> UserRecords:
    """Return the user records of a Kinesis record.

    Raises:
        RecordRejected: corrupt-aggregate, because the digest, the message, an index or a key is wrong.
    """
    sequence, arrived_at = record.sequence, record.arrived_at
    if not record.data.startswith(MAGIC):
        return UserRecords([UserRecord(sequence, 0, record.partition_key, arrived_at, record.data)], 1, 0)
    _check_digest(record.data)
    parts = Parts(record.data, len(MAGIC), len(record.data) - DIGEST_SIZE)
    inside, count, outside = _inside(hash_range, parts.small), 0, 0
    for count, (key, explicit, _) in enumerate(parts, 1):  # noqa: B007 - count is used after the loop
        outside += not inside(key, explicit)
    if not count:
        raise corrupt("it holds no user record")
    found = (UserRecord(sequence, index, key, arrived_at, data) for index, (key, _, data) in enumerate(parts))
    return UserRecords(found, count, outside)


def _check_digest(data: bytes) -> None:
    body, digest = memoryview(data)[len(MAGIC) : -DIGEST_SIZE], data[-DIGEST_SIZE:]
    if len(data) < len(MAGIC) + DIGEST_SIZE or hashlib.md5(body, usedforsecurity=False).digest() != digest:
        raise corrupt("the digest differs")


def _inside(hash_range: tuple[int, int], small: bool) -> Callable[[str, str | None], bool]:
    """Return an `_Inside`, cached for a long aggregate: it repeats the same keys, and each hash takes 1 µs."""
    return _Inside(hash_range) if small else lru_cache(CACHED)(_Inside(hash_range))


class _Inside:
    """Tell whether a user record hashes into the shard. An explicit hash key that is not a number is ignored."""

    def __init__(self, hash_range: tuple[int, int]) -> None:
        self._first, self._last = hash_range
        self._all = hash_range == FULL_HASH_RANGE

    def __call__(self, partition_key: str, explicit: str | None) -> bool:
        if self._all:
            return True
        if explicit is not None and _HASH_KEY.fullmatch(explicit):
            effective = int(explicit)
        else:
            effective = int.from_bytes(hashlib.md5(partition_key.encode(), usedforsecurity=False).digest(), "big")
        return self._first <= effective <= self._last


def aggregate(user_records: Iterable[tuple[str, bytes]]) -> bytes:
    """Return one KPL aggregate of (partition key, data) pairs."""
    message = messages().AggregatedRecord()
    table: dict[str, int] = {}
    for key, data in user_records:
        part = message.records.add()
        part.partition_key_index = table.setdefault(key, len(table))
        part.data = data
    message.partition_key_table.extend(table)
    body = message.SerializeToString()
    return bytes(MAGIC + body + hashlib.md5(body, usedforsecurity=False).digest())
