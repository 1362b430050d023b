"""The values that all rooms share: positions, records, blocks of rows and dead letters. No module here does I/O.

Sequence numbers are integers inside the program and decimal strings at its edges. They have 56 digits today, but AWS
documents no fixed length, so comparing them as strings would be wrong.
Values created for each record are structs that the garbage collector skips: they hold no cycles, and cost a third of a
named tuple. Positions are tuples, so that they compare in order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum, IntEnum
from functools import lru_cache
from typing import Annotated, NamedTuple

import msgspec


class PositionKind(IntEnum):
    """The kinds of position, ordered as in KCL's ExtendedSequenceNumber: sentinels around sequence numbers."""

    AT_TIMESTAMP = 0
    TRIM_HORIZON = 1
    LATEST = 2
    SEQUENCE = 3
    SHARD_END = 4


_SEQUENCE = PositionKind.SEQUENCE  # looking up an enum member is slow


class Position(NamedTuple):
    """A position in a shard: a sentinel, or everything up to and including user record `sub_sequence` of `sequence`.

    Positions compare like tuples. `at` is only set for AT_TIMESTAMP.
    """

    kind: PositionKind
    sequence: int = 0
    sub_sequence: int = 0
    at: datetime | None = None

    @classmethod
    def of(cls, sequence: int, sub_sequence: int = 0) -> "Position":
        """Return the position of one user record; a plain record is its own user record 0."""
        return tuple.__new__(cls, (_SEQUENCE, sequence, sub_sequence, None))  # fast: called for each record

    @classmethod
    def at_timestamp(cls, at: datetime) -> "Position":
        """Return the position of the first record that arrived at or after `at`."""
        return cls(PositionKind.AT_TIMESTAMP, at=at)

    def __str__(self) -> str:
        if self.kind is PositionKind.SEQUENCE:
            return f"{self.sequence}.{self.sub_sequence}"
        return f"{self.kind.name}({rfc3339(self.at)})" if self.at else self.kind.name


TRIM_HORIZON = Position(PositionKind.TRIM_HORIZON)
LATEST = Position(PositionKind.LATEST)
SHARD_END = Position(PositionKind.SHARD_END)

FULL_HASH_RANGE = (0, 2**128 - 1)


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard as the stream lists it. `closed` means that a reshard has ended it."""

    shard_id: str
    parents: tuple[str, ...] = ()
    hash_range: tuple[int, int] = FULL_HASH_RANGE
    starting_sequence: int = 0
    closed: bool = False


# Kinesis started in December 2013. A number outside of this range is not a time in seconds.
EARLIEST = datetime(2013, 1, 1, tzinfo=UTC).timestamp()
LATEST_TIME = datetime(2100, 1, 1, tzinfo=UTC).timestamp()
Instant = Annotated[float, msgspec.Meta(ge=EARLIEST, lt=LATEST_TIME)]
# The members of a record in a response of GetRecords.
MEMBERS = {
    "sequence": "SequenceNumber",
    "partition_key": "PartitionKey",
    "arrived_at": "ApproximateArrivalTimestamp",
    "data": "Data",
}


class Record(msgspec.Struct, frozen=True, gc=False, rename=MEMBERS):
    """A Kinesis record as fetched, with the producer's `data`. `arrived_at` is in epoch seconds, 0.0 if unknown.

    msgspec makes it straight from a response of GetRecords.
    """

    sequence: int
    partition_key: str = ""
    arrived_at: Instant = 0.0
    data: bytes = b""


class UserRecord(msgspec.Struct, frozen=True, gc=False):
    """One record as its producer sent it: a plain Kinesis record (sub-sequence 0), or one of a KPL aggregate."""

    sequence: int
    sub_sequence: int
    partition_key: str
    arrived_at: float
    data: bytes


class EventLocation(msgspec.Struct, frozen=True, gc=False):
    """The location of an event on its stream. `event_index` is its index in a JSON array, 0 without one."""

    stream_name: str
    shard_id: str
    sequence: int
    sub_sequence: int
    event_index: int
    partition_key: str
    arrived_at: float


class Block(msgspec.Struct, frozen=True, gc=False):
    """Consecutive rows or dead letters that were encoded together.

    `lines`: a JSON object (schemas.call_request, schemas.dead_letter) for each, followed by a newline. `data`: for each
    row the user record that it came from, if the sink can reject a row: its dead letter needs the original bytes.
    """

    lines: bytes
    count: int
    data: Sequence[bytes] = ()

    def __len__(self) -> int:
        return self.count

    def part(self, start: int, stop: int) -> "Block":
        """Return the rows from `start` up to but not including `stop`."""
        if stop - start == self.count:
            return self
        lines = b"".join(self.lines.splitlines(keepends=True)[start:stop])
        return Block(lines, stop - start, self.data[start:stop])


class Reason(Enum):
    """Why an event became a dead letter. The values are written to dead letters and do not change."""

    NOT_JSON = "not-json"
    NOT_CLOUDEVENT = "not-cloudevent"
    INVALID_EVENT = "invalid-event"
    CORRUPT_AGGREGATE = "corrupt-aggregate"
    SINK_REJECTED = "sink-rejected"
    INTERNAL_ERROR = "internal-error"


class DeadLetter(msgspec.Struct, frozen=True, gc=False):
    """An event that could not become a row, with its bytes. `message` never carries a value of the event."""

    reason: Reason
    message: str
    location: EventLocation
    data: bytes


class Skipped(msgspec.Struct, frozen=True, gc=False):
    """An event of a type that this program does not decode: counted, never an error."""

    event_type: str


class Decoded(msgspec.Struct, frozen=True, gc=False):
    """What consecutive Kinesis records became: a block of rows, dead letters, and the types of skipped events.

    `first` and `last` are the sequence number of the first record and the position of the last user record. A large
    record comes in several pieces, of which the first one has the counts.
    """

    block: Block
    dead_letters: Sequence[DeadLetter]
    skipped: Sequence[str]
    records: int
    user_records: int
    out_of_range: int
    first: int
    last: Position
    arrived_at: float
    dropped: Sequence[Reason] = ()  # of events that a policy only counts


@dataclass(frozen=True, slots=True)
class Fetched:
    """One well-formed response of GetRecords.

    `next_iterator` is None at the end of the shard; some emulators and proxies also leave it out earlier. `children`
    are the shards that follow an ended one; some emulators leave them out. `millis_behind` is the distance from the tip
    in milliseconds as the service reports it, or None.
    """

    records: Sequence[Record]
    next_iterator: str | None
    millis_behind: int | None
    children: Sequence[Shard] = ()
    size: int = 0  # bytes of `data` of all records


@dataclass(frozen=True, slots=True)
class StreamSummary:
    """The service's description of a stream. `server_time` is its Date header: whole seconds, rounded down."""

    name: str
    active: bool
    created_at: datetime
    server_time: datetime
    retention: float = 86_400.0  # seconds

    def made_at(self, instant: datetime | None) -> bool:
        """Return whether this is the stream that was created at `instant`; True if `instant` is None (unknown)."""
        return instant is None or abs(self.created_at - instant) < timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """The batch limits of a sink. A batch is delivered at the first one reached; `age` is in seconds."""

    rows: int = 1_000
    bytes: int = field(default=4 * 1024 * 1024)
    age: float = 1.0


def rfc3339(moment: datetime | float) -> str:
    """Return an aware datetime or epoch seconds as RFC 3339 in UTC with milliseconds and `Z`. Finer digits are cut."""
    return from_epoch(moment.timestamp() if isinstance(moment, datetime) else moment)


def from_epoch(seconds: float) -> str:
    """Return epoch seconds as RFC 3339 in UTC with milliseconds and `Z`."""
    milliseconds = round(seconds * 1e6) // 1000
    return _second(milliseconds // 1000) + _ENDS[milliseconds % 1000]


_ENDS = [f".{number:03d}Z" for number in range(1000)]


@lru_cache(maxsize=256)  # many records of a batch arrived within the same second
def _second(epoch: int) -> str:
    return datetime.fromtimestamp(epoch, UTC).replace(tzinfo=None).isoformat()
