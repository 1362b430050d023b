"""KPL aggregates to user records, and back for publishers. The only importer of aws_kinesis_agg.

The format: F3 89 9A C2, a protobuf message, its MD5
(https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md). An aggregate that does not hold
together is refused as a whole: its good half is never delivered without its bad one.
"""

import hashlib
import importlib
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from aws_kinesis_agg import DIGEST_SIZE, MAGIC

from consumer.pipeline.refusal import Refused
from consumer.records import FULL_HASH_RANGE, Reason, Record, UserRecord

_HASH_KEY = re.compile("[0-9]{1,39}")  # decimal, of 128 bits


def _message() -> Any:
    """The protobuf class. Its module needs its own folder on sys.path while it is imported; the path is put back."""
    path = list(sys.path)
    try:
        importlib.import_module("aws_kinesis_agg.aggregator")
        return importlib.import_module("aws_kinesis_agg.messages_pb2").AggregatedRecord
    finally:
        sys.path[:] = path


_AggregatedRecord = _message()


def is_aggregate(data: bytes) -> bool:
    """Does it begin as an aggregate does?"""
    return data.startswith(MAGIC)


def deaggregate(record: Record, hash_range: tuple[int, int] = FULL_HASH_RANGE) -> tuple[Sequence[UserRecord], int]:
    """The user records of a Kinesis record, and how many of them hash outside of the shard.

    Those outside are kept: a producer other than the KPL never sends them again, and the KPL itself, since 0.15.11,
    sends only these again, so at worst they repeat.

    Raises:
        Refused: corrupt-aggregate; digest, message, an index or a key is wrong.
    """
    sequence, arrived_at, data = record.sequence, record.arrived_at, record.data
    if not data.startswith(MAGIC):
        return [UserRecord(sequence, 0, record.partition_key, arrived_at, data)], 0
    message = _parse(data)
    keys, hashes = _strings(message.partition_key_table), _strings(message.explicit_hash_key_table)
    parts = [_part(part, len(keys), len(hashes)) for part in message.records]
    if not parts:
        raise _corrupt("it holds no user record")
    user_records = [
        UserRecord(sequence, index, keys[key], arrived_at, content) for index, (key, _, content) in enumerate(parts)
    ]
    if hash_range == FULL_HASH_RANGE:
        return user_records, 0
    inside = _Inside(hash_range)
    return user_records, sum(
        not inside(keys[key], None if explicit is None else hashes[explicit]) for key, explicit, _ in parts
    )


def _parse(data: bytes) -> Any:
    body, digest = data[len(MAGIC) : -DIGEST_SIZE], data[-DIGEST_SIZE:]
    if len(data) < len(MAGIC) + DIGEST_SIZE or hashlib.md5(body, usedforsecurity=False).digest() != digest:
        raise _corrupt("the digest differs")
    try:
        message = _AggregatedRecord.FromString(body)
    except Exception as error:  # protobuf's DecodeError, whose module differs between its implementations
        raise _corrupt("the message does not parse") from error
    if not message.IsInitialized():
        raise _corrupt("a user record lacks its data or its partition key")
    return message


def _strings(table: Iterable[str]) -> Sequence[str]:
    strings = list(table)
    if not all(isinstance(string, str) for string in strings):  # protobuf gives bytes for what is not UTF-8
        raise _corrupt("a key is not UTF-8")
    return strings


def _part(part: Any, keys: int, hashes: int) -> tuple[int, int | None, bytes]:
    """Index of the partition key, index of the explicit hash key, and data."""
    key = part.partition_key_index
    explicit = part.explicit_hash_key_index if part.HasField("explicit_hash_key_index") else None  # absent is not 0
    if key >= keys or (explicit is not None and explicit >= hashes):
        raise _corrupt("a user record names a key that is not there")
    return key, explicit, part.data


def _corrupt(message: str) -> Refused:
    return Refused(Reason.CORRUPT_AGGREGATE, message)


class _Inside:
    """Does a user record hash into the shard? An explicit hash key that is no number counts as none."""

    def __init__(self, hash_range: tuple[int, int]) -> None:
        self._first, self._last = hash_range

    def __call__(self, partition_key: str, explicit: str | None) -> bool:
        if explicit is not None and _HASH_KEY.fullmatch(explicit):
            effective = int(explicit)
        else:
            effective = int.from_bytes(hashlib.md5(partition_key.encode(), usedforsecurity=False).digest(), "big")
        return self._first <= effective <= self._last


def aggregate(user_records: Iterable[tuple[str, bytes]]) -> bytes:
    """One KPL aggregate of (partition key, data) pairs."""
    message = _AggregatedRecord()
    table: dict[str, int] = {}
    for key, data in user_records:
        part = message.records.add()
        part.partition_key_index = table.setdefault(key, len(table))
        part.data = data
    message.partition_key_table.extend(table)
    body = message.SerializeToString()
    return bytes(MAGIC + body + hashlib.md5(body, usedforsecurity=False).digest())
