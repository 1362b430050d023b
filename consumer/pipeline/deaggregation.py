"""KPL aggregates to user records, and back for publishers. The only importer of aws_kinesis_agg.

The format: F3 89 9A C2, a protobuf message, its MD5
(https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md). An aggregate that does not hold
together is refused as a whole: its good half is never delivered without its bad one.
"""

import hashlib
import importlib
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from aws_kinesis_agg import DIGEST_SIZE, MAGIC

from consumer.records import FULL_HASH_RANGE, Record, UserRecord


def _message() -> Any:
    """The protobuf class. Its module needs its own folder on sys.path while it is imported; the path is put back."""
    path = list(sys.path)
    try:
        importlib.import_module("aws_kinesis_agg.aggregator")
        return importlib.import_module("aws_kinesis_agg.messages_pb2").AggregatedRecord
    finally:
        sys.path[:] = path


_AggregatedRecord = _message()


class CorruptAggregate(ValueError):
    """A record begins as an aggregate does and is none; the message says where it breaks."""


def deaggregate(record: Record, hash_range: tuple[int, int] = FULL_HASH_RANGE) -> tuple[Sequence[UserRecord], int]:
    """The user records of a Kinesis record, and how many of them hash outside of the shard.

    Those outside are kept: a producer other than the KPL never sends them again, and the KPL itself, since 0.15.11,
    sends only these again, so at worst they repeat.

    Raises:
        CorruptAggregate: digest, message or an index is wrong.
    """
    if not record.data.startswith(MAGIC):
        return [UserRecord(record.sequence, 0, record.partition_key, record.arrived_at, record.data)], 0
    message = _parse(record.data)
    keys, hashes = message.partition_key_table, message.explicit_hash_key_table
    outside = 0
    user_records = []
    for sub_sequence, part in enumerate(message.records):
        if part.partition_key_index >= len(keys):
            raise CorruptAggregate("a partition key is missing")
        key = keys[part.partition_key_index]
        user_records.append(UserRecord(record.sequence, sub_sequence, key, record.arrived_at, part.data))
        explicit = None
        if part.HasField("explicit_hash_key_index"):  # absent is not 0
            if part.explicit_hash_key_index >= len(hashes):
                raise CorruptAggregate("an explicit hash key is missing")
            explicit = hashes[part.explicit_hash_key_index]
        if hash_range != FULL_HASH_RANGE and not _inside(key, explicit, hash_range):
            outside += 1
    if not user_records:
        raise CorruptAggregate("it holds no user record")
    return user_records, outside


def _parse(data: bytes) -> Any:
    body, digest = data[len(MAGIC) : -DIGEST_SIZE], data[-DIGEST_SIZE:]
    if len(data) <= len(MAGIC) + DIGEST_SIZE or hashlib.md5(body, usedforsecurity=False).digest() != digest:
        raise CorruptAggregate("the digest differs")
    try:
        return _AggregatedRecord.FromString(body)
    except Exception as error:  # protobuf's DecodeError, whose module differs between its implementations
        raise CorruptAggregate("the message does not parse") from error


def _inside(partition_key: str, explicit: str | None, hash_range: tuple[int, int]) -> bool:
    if explicit is not None and explicit.isdecimal():
        effective = int(explicit)
    else:
        effective = int.from_bytes(hashlib.md5(partition_key.encode(), usedforsecurity=False).digest(), "big")
    return hash_range[0] <= effective <= hash_range[1]


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
