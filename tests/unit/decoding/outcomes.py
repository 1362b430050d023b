"""Decode one record in both forms: its outcomes in order, and the blocks that the worker gets."""

from collections import deque

from consumer.decoding.decoder import Decoder
from consumer.decoding.locations import EncodedRow
from consumer.records import TRIM_HORIZON, DeadLetter, Decoded, Record, Shard, Skipped
from tests.events import lines

Line = bytes  # an encoded row


def outcomes(data: bytes, raw: bool = False) -> list[Line | DeadLetter | Skipped]:
    """Return the outcomes of a record in order. Check that its blocks have the same ones."""
    found = [
        outcome.line[:-1] if isinstance(outcome, EncodedRow) else outcome
        for outcome in Decoder("stream", Shard("shard"), raw).outcomes(_record(data))
    ]
    made = pieces(data, raw)
    assert lines(made).splitlines() == [one for one in found if isinstance(one, bytes)]
    assert [one for piece in made for one in piece.dead_letters] == [
        one for one in found if isinstance(one, DeadLetter)
    ]
    assert [Skipped(one) for piece in made for one in piece.skipped] == [
        one for one in found if isinstance(one, Skipped)
    ]
    return found


def pieces(data: bytes, raw: bool = False) -> list[Decoded]:
    """Return the blocks of a record. Check that their counts add up."""
    made = list(Decoder("stream", Shard("shard"), raw)(deque([_record(data)]), TRIM_HORIZON, 100))
    assert sum(piece.records for piece in made) == 1
    assert all(piece.block.lines.count(b"\n") == len(piece.block) == len(piece.block.data) for piece in made)
    return made


def _record(data: bytes) -> Record:
    return Record(7, "key", 1.7e9, data)
