"""Describe what an operator is about to change in a lease table. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from consumer.leases import Lease
from consumer.records import SHARD_END, TRIM_HORIZON, PositionKind, rfc3339
from consumer.runtime.durations import span

# The fields of a row that make up its checkpoint. The others belong to its owner.
FIELDS = (
    *("checkpoint", "pending", "started_at", "read_to", "parents", "children", "hash_range", "stream_created_at"),
    *("lost_from", "lost_to", "halted"),
)
MOST_LINES = 30  # shards that are listed one by one


@dataclass(frozen=True, slots=True)
class Move:
    """A new checkpoint for one shard.

    `before`: its row, or None. `after`: what the row says afterwards; owner, counter and token do not matter. `time`:
    records that arrived from then on are read; None: unknown. `note`: more for the operator, may be empty.
    """

    before: Lease | None
    after: Lease
    time: datetime | None = None
    note: str = ""

    @property
    def needed(self) -> bool:
        """Return whether the row differs from what it should be."""
        row = self.before
        return row is None or any(getattr(row, name) != getattr(self.after, name) for name in FIELDS)

    @property
    def seconds(self) -> float | None:
        """Return the time that is moved over: positive to read it again, negative to leave it out; None: unknown."""
        return _moved_over(self.before, self.time)

    @property
    def line(self) -> str:
        """Return the move as it is printed."""
        before = _reached(self.before) if self.before is not None else "no checkpoint"
        parts = [f"{self.after.shard_id}: {before} -> {_start(self.after)}", _over(self.seconds), self.note]
        return ", ".join(filter(None, parts))


@dataclass(frozen=True, slots=True)
class Plan:
    """Rows to move, and rows to remove (parents before their children). `time`: where reading continues, if known.

    `replay`: the command that reads what is left out, without its times; "" if there is none.
    """

    title: str
    moves: Sequence[Move] = ()
    removals: Sequence[Lease] = ()
    time: datetime | None = None
    reason: str = "read from its beginning once its parents have ended"  # why rows are removed
    replay: str = ""

    @property
    def empty(self) -> bool:
        """Return whether nothing has to be changed."""
        return not self.moves and not self.removals

    @property
    def rows(self) -> Sequence[Lease]:
        """Return the existing rows that the plan changes."""
        return [move.before for move in self.moves if move.before is not None] + list(self.removals)

    def lines(self) -> Iterator[str]:
        """Yield the plan as it is printed."""
        if self.empty:
            yield f"{self.title}: nothing to change"
            return
        yield self.title
        each = [move.line for move in self.moves]
        each += [f"{row.shard_id}: {_reached(row)} -> row removed, {self.reason}" for row in self.removals]
        yield from each[:MOST_LINES]
        if len(each) > MOST_LINES:
            yield f"and {len(each) - MOST_LINES} more shards"
        yield from self._summary()

    def _summary(self) -> Iterator[str]:
        seconds = [move.seconds for move in self.moves] + [_moved_over(row, self.time) for row in self.removals]
        known = [value for value in seconds if value is not None]
        if known and max(known) > 0:
            yield f"up to {span(max(known))} of records are read again"
        if known and min(known) < 0:
            yield f"up to {span(-min(known))} of records are not read{self._later()}"
        if len(known) < len(seconds):
            yield f"for {len(seconds) - len(known)} shards it is unknown how much time this moves over"

    def _later(self) -> str:
        """Return how the records between the old and the new position can be read later."""
        left_out = [move for move in self.moves if (move.seconds or 0) < 0]
        starts = [move.before.read_to for move in left_out if move.before is not None and move.before.read_to]
        ends = [move.time for move in left_out if move.time is not None]
        if not self.replay or not starts or not ends:
            return ""
        return f"; to read them later: {self.replay} --from {rfc3339(min(starts))} --to {rfc3339(max(ends))}"


def _moved_over(row: Lease | None, time: datetime | None) -> float | None:
    """Return the seconds from `time` to where a row stands; 0 if it has read nothing yet; None: unknown."""
    if row is None or (row.read_to is None and row.checkpoint == TRIM_HORIZON):
        return 0.0
    reached = row.read_to or (row.started_at if row.checkpoint.kind is not PositionKind.SEQUENCE else None)
    return (reached - time).total_seconds() if reached is not None and time is not None else None


def _over(seconds: float | None) -> str:
    if seconds is None:
        return "over an unknown time"
    if abs(seconds) < 1:
        return ""
    return f"back over {span(seconds)}" if seconds > 0 else f"forward over {span(-seconds)}"


def _reached(row: Lease) -> str:
    """Return how far a row says that its shard is read."""
    if row.ended:
        return "read to its end"
    if row.read_to is not None:
        return f"read up to {row.read_to:%F %T}"
    return f"at {row.start}"


def _start(row: Lease) -> str:
    """Return where reading continues."""
    if row.checkpoint == SHARD_END:
        return "its end"
    if row.checkpoint.kind is PositionKind.SEQUENCE:
        where = "before" if row.checkpoint.sub_sequence < 0 else "after"
        return f"{where} record {row.checkpoint.sequence}"
    return f"from {row.started_at:%F %T}" if row.started_at is not None else str(row.checkpoint)
