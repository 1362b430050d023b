"""The values everybody shares: places on a stream, records, rows and dead letters.

Nothing here does I/O or knows a service. Sequence numbers are integers inside the program and decimal strings at
its edges: they are 56 digits long today, but the length is not promised, and comparing them as strings is wrong.
Values made once an event are structs that the garbage collector does not look at: they hold no cycles, cost a third of
a named tuple, and tens of thousands lie in the buffers. Positions are tuples, to be compared; the others are frozen
dataclasses.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum, IntEnum
from functools import lru_cache
from typing import NamedTuple

import msgspec


class PositionKind(IntEnum):
    """The kinds of position in the order KCL gives them (ExtendedSequenceNumber): sentinels around the numbers."""

    AT_TIMESTAMP = 0
    TRIM_HORIZON = 1
    LATEST = 2
    SEQUENCE = 3
    SHARD_END = 4


_SEQUENCE = PositionKind.SEQUENCE  # a member of an enumeration is looked up slowly


class Position(NamedTuple):
    """A place in a shard: a sentinel, or the record `sequence` up to and including its user record `sub_sequence`.

    Positions are ordered as tuples are; `at` belongs to AT_TIMESTAMP alone.
    """

    rank: PositionKind
    sequence: int = 0
    sub_sequence: int = 0
    at: datetime | None = None

    @classmethod
    def of(cls, sequence: int, sub_sequence: int = 0) -> "Position":
        """The place of one user record; a plain record is its own user record 0."""
        return tuple.__new__(cls, (_SEQUENCE, sequence, sub_sequence, None))  # one is made for each record

    @classmethod
    def at_timestamp(cls, at: datetime) -> "Position":
        """The first record that arrived at or after `at`."""
        return cls(PositionKind.AT_TIMESTAMP, at=at)

    def __str__(self) -> str:
        if self.rank is PositionKind.SEQUENCE:
            return f"{self.sequence}.{self.sub_sequence}"
        return f"{self.rank.name}({rfc3339(self.at)})" if self.at else self.rank.name


TRIM_HORIZON = Position(PositionKind.TRIM_HORIZON)
LATEST = Position(PositionKind.LATEST)
SHARD_END = Position(PositionKind.SHARD_END)

FULL_HASH_RANGE = (0, 2**128 - 1)


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard as the stream lists it; `closed` says that a reshard has ended it."""

    shard_id: str
    parents: tuple[str, ...] = ()
    hash_range: tuple[int, int] = FULL_HASH_RANGE
    starting_sequence: int = 0
    closed: bool = False


class Record(msgspec.Struct, frozen=True, gc=False):
    """A Kinesis record as fetched: `data` is what the producer put, `arrived_at` epoch seconds, 0.0 when unknown."""

    sequence: int
    partition_key: str
    arrived_at: float
    data: bytes


class UserRecord(msgspec.Struct, frozen=True, gc=False):
    """One producer's record: a plain Kinesis record (sub-sequence 0), or one of a KPL aggregate."""

    sequence: int
    sub_sequence: int
    partition_key: str
    arrived_at: float
    data: bytes


class EventLocation(msgspec.Struct, frozen=True, gc=False):
    """Where an event stands on the stream. `event_index` counts within a record that holds a JSON array."""

    stream_name: str
    shard_id: str
    sequence: int
    sub_sequence: int
    event_index: int
    partition_key: str
    arrived_at: float


class Row(msgspec.Struct, frozen=True, gc=False):
    """One call request, ready for a sink: `line` is its JSON (schemas.call_request) without a newline.

    `data` is the user record it came from, kept so that a row which a sink rejects becomes a dead letter with its
    original bytes.
    """

    line: bytes
    place: EventLocation
    data: bytes


class Reason(Enum):
    """Why an event is a dead letter. The values are what a reader of dead letters sees; they do not change."""

    NOT_JSON = "not-json"
    NOT_CLOUDEVENT = "not-cloudevent"
    INVALID_EVENT = "invalid-event"
    CORRUPT_AGGREGATE = "corrupt-aggregate"
    SINK_REJECTED = "sink-rejected"
    INTERNAL_ERROR = "internal-error"


class DeadLetter(msgspec.Struct, frozen=True, gc=False):
    """What could not become a row, with its bytes and its place; `message` never carries a value of the event."""

    reason: Reason
    message: str
    place: EventLocation
    data: bytes


class Skipped(msgspec.Struct, frozen=True, gc=False):
    """An event of a type that this program does not decode: counted, never an error."""

    event_type: str


Outcome = Row | DeadLetter | Skipped


@dataclass(frozen=True, slots=True)
class Fetched:
    """One well-formed response of a shard: its records, and where to go on.

    `next_iterator` is None at the end of the shard, and also in responses of some emulators and proxies that mean
    nothing by it; `children` is what a reshard made of an ended shard (some emulators leave it out). `millis_behind` is
    how far the response is from the tip in milliseconds, as the service computes it; None when it does not say.
    """

    records: Sequence[Record]
    next_iterator: str | None
    millis_behind: int | None
    children: Sequence[Shard] = ()
    size: int = 0  # bytes of `data` in all


@dataclass(frozen=True, slots=True)
class StreamSummary:
    """A stream as it describes itself. `server_time` is the service's Date header: whole seconds, rounded down."""

    name: str
    active: bool
    created_at: datetime
    server_time: datetime
    retention: float = 86_400.0  # seconds

    def made_at(self, instant: datetime | None) -> bool:
        """Return whether this is the stream that was created at `instant`; True when nobody knows."""
        return instant is None or abs(self.created_at - instant) < timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """What suits a sink: a batch is delivered at the first of these. Age in seconds since its first record."""

    rows: int = 1_000
    bytes: int = field(default=4 * 1024 * 1024)
    age: float = 1.0


def rfc3339(moment: datetime | float) -> str:
    """RFC 3339 in UTC with milliseconds and `Z`, from an aware datetime or epoch seconds; finer digits are cut off."""
    return from_epoch(moment.timestamp() if isinstance(moment, datetime) else moment)


def from_epoch(seconds: float) -> str:
    """RFC 3339 of epoch seconds."""
    milliseconds = round(seconds * 1e6) // 1000
    return _second(milliseconds // 1000) + _ENDS[milliseconds % 1000]


_ENDS = [f".{number:03d}Z" for number in range(1000)]


@lru_cache(maxsize=256)  # the records of a batch share their seconds
def _second(epoch: int) -> str:
    return datetime.fromtimestamp(epoch, UTC).replace(tzinfo=None).isoformat()
