"""Parse the protobuf message of a KPL aggregate slice by slice, to bound memory. The only importer of aws_kinesis_agg.

A protobuf message is the concatenation of its fields, so slices cut between fields parse to the same result as the
whole message. This module only finds where fields end; the protobuf library decides what is valid. At most one slice at
a time exists as Python objects.
"""

import importlib
import sys
from array import array
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any, Protocol

import aws_kinesis_agg

from consumer.decoding.rejection import RecordRejected
from consumer.records import Reason

MAGIC: bytes = aws_kinesis_agg.MAGIC
DIGEST_SIZE: int = aws_kinesis_agg.DIGEST_SIZE
SLICE = 256 * 1024  # bytes of a message that are parsed into objects at once
LONGEST_KEY = 256  # characters of a partition key, a limit of Kinesis and KPL; each row repeats the key
LONGEST_HASH_KEY = 39  # decimal digits of a 128-bit number
NO_HASH_KEY = ""  # replaces a longer one, which cannot be a hash key
CACHED = 1024  # cached strings of a long message, whose records repeat them
Part = tuple[str, str | None, bytes]  # partition key, explicit hash key, data
_VARINT, _LENGTH, _GROUP, _END_OF_GROUP = 0, 2, 3, 4  # wire types
_FIXED = {1: 8, 5: 4}
LONGEST_VARINT = 10  # bytes
_RECORDS = 3 << 3 | _LENGTH  # the tag of the field that holds user records


@cache
def messages() -> Any:
    """Import the protobuf classes, on first use: the import takes a tenth of a start, and many streams need none.

    The import changes sys.path, so restore it afterwards.
    """
    path = list(sys.path)
    try:
        importlib.import_module("aws_kinesis_agg.aggregator")
        return importlib.import_module("aws_kinesis_agg.messages_pb2")
    finally:
        sys.path[:] = path


class Table(Protocol):
    """A table of strings that user records refer to by index."""

    def extend(self, strings: Iterable[str], /) -> None: ...
    def __getitem__(self, index: int, /) -> str: ...


def corrupt(message: str) -> RecordRejected:
    """Return the error that rejects a whole aggregate."""
    return RecordRejected(Reason.CORRUPT_AGGREGATE, message)


class Parts:
    """The user records of the message in `data[start:stop]`. Can be iterated more than once.

    Raises:
        RecordRejected: corrupt-aggregate, on construction or in the first iteration.
    """

    def __init__(self, data: bytes, start: int, stop: int) -> None:
        self.small = small = stop - start <= SLICE
        self._slices: Iterable[Any] = (
            [_parsed(messages().AggregatedRecord, data[start:stop])] if small else _Slices(data, start, stop)
        )
        self._keys: Table = [] if small else _Strings()
        self._hashes: Table = [] if small else _Strings()
        self._check()
        self._made = list(self._all()) if small else None

    def _check(self) -> None:
        """Fill both string tables. Raise only after every slice has parsed, so that a parse error comes first."""
        complete = readable = short = True
        for message in self._slices:
            complete &= message.IsInitialized()
            keys, hashes = message.partition_key_table, message.explicit_hash_key_table
            readable &= all(isinstance(key, str) for key in (*keys, *hashes))  # protobuf returns bytes if not UTF-8
            if readable:
                short &= max(map(len, keys), default=0) <= LONGEST_KEY
                self._keys.extend(keys)
                self._hashes.extend(key if len(key) <= LONGEST_HASH_KEY else NO_HASH_KEY for key in hashes)
        if not complete:
            raise _incomplete()
        if not readable:
            raise corrupt("a key is not UTF-8")
        if not short:
            raise corrupt(f"a partition key is longer than {LONGEST_KEY} characters")

    def __iter__(self) -> Iterator[Part]:
        return self._all() if self._made is None else iter(self._made)

    def _all(self) -> Iterator[Part]:
        keys, hashes = self._keys.__getitem__, self._hashes.__getitem__
        if not self.small:
            keys, hashes = lru_cache(CACHED)(keys), lru_cache(CACHED)(hashes)
        try:
            for message in self._slices:
                for part in message.records:
                    given = part.HasField("explicit_hash_key_index")  # absent is not 0
                    explicit = hashes(part.explicit_hash_key_index) if given else None
                    yield keys(part.partition_key_index), explicit, part.data
        except IndexError:
            raise corrupt("a user record names a key that is missing") from None


class _Strings:
    """A compact table of strings, kept as UTF-8. Millions of short `str` objects would take ten times the memory."""

    def __init__(self) -> None:
        self._text, self._ends = bytearray(), array("I", [0])

    def extend(self, strings: Iterable[str], /) -> None:
        """Append strings."""
        for string in strings:
            self._text += string.encode()
            self._ends.append(len(self._text))

    def __getitem__(self, index: int, /) -> str:
        start, end = self._ends[index], self._ends[index + 1]
        return self._text[start:end].decode()


class _Slices:
    """A long message as a sequence of short ones. Each iteration parses it again."""

    def __init__(self, data: bytes, start: int, stop: int) -> None:
        self._data, self._cuts = data, [start, *_cuts(data, start, stop)]

    def __iter__(self) -> Iterator[Any]:
        for start, stop in pairwise(self._cuts):
            tag, content = _varint(self._data, start)
            if tag == _RECORDS and stop - start > SLICE:
                _, content = _varint(self._data, content)
                yield messages().AggregatedRecord(records=[_long_record(self._data, content, stop)])
            else:
                yield _parsed(messages().AggregatedRecord, self._data[start:stop])


def _long_record(data: bytes, start: int, stop: int) -> Any:
    """Parse one user record that is longer than a slice. Validate its tags, then drop them: nothing uses them."""
    record = messages().Record()
    for left, right in pairwise([start, *_cuts(data, start, stop)]):
        part = _parsed(messages().Record, data[left:right])
        if not all(tag.IsInitialized() for tag in part.tags):
            raise _incomplete()
        part.ClearField("tags")
        record.MergeFrom(part)
    return record


def _parsed(kind: Any, data: bytes) -> Any:
    try:
        return kind.FromString(data)
    except Exception as error:  # protobuf's DecodeError, whose module differs between its implementations
        raise _malformed() from error


def _cuts(data: bytes, start: int, stop: int) -> Iterator[int]:
    """Yield the offsets at which each slice ends. Only a slice of a single field is longer than `SLICE`."""
    before = start
    for end in _ends_of_fields(data, start, stop):
        if end - start > SLICE and before > start:
            yield before
            start = before
        before = end
    if before > start:
        yield before


def _ends_of_fields(data: bytes, position: int, stop: int) -> Iterator[int]:
    """Yield the end offset of each top-level field; a group counts as one field."""
    depth = 0
    while position < stop:
        tag, position = _varint(data, position)
        kind = tag & 7
        if kind == _LENGTH:
            length, position = _varint(data, position)
            position += length
        elif kind == _VARINT:
            _, position = _varint(data, position)
        else:
            depth += (kind == _GROUP) - (kind == _END_OF_GROUP)
            position += _FIXED.get(kind, 0)
        if depth == 0:
            yield position
    if depth or position > stop:
        raise _malformed()


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """Return the number that starts at `position`, and the offset after it."""
    byte = data[position]
    if byte < 128:
        return byte, position + 1
    number = 0
    for index, byte in enumerate(data[position : position + LONGEST_VARINT]):
        number |= (byte & 127) << 7 * index
        if byte < 128:
            return number, position + index + 1
    raise _malformed()


def _malformed() -> RecordRejected:
    return corrupt("the message does not parse")


def _incomplete() -> RecordRejected:
    return corrupt("a user record lacks its data or its partition key")
