"""Parents before children: which rows a listing calls for, which shards may run, which tombstones can go. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from consumer.leases import Lease
from consumer.records import FULL_HASH_RANGE, LATEST, TRIM_HORIZON, Position, PositionKind, Shard
from consumer.shard.listing import covers

# LATEST starts a little before the first start: the service's Date header is rounded, and clocks differ.
LATEST_MARGIN = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class InitialPosition:
    """Where shards without a checkpoint start: TRIM_HORIZON or LATEST as the row says it, and the instant, if any.

    The instant is that of the application's first start, so a shard found later starts where the first ones did, and
    nothing is skipped by a crash before the first checkpoint.
    """

    position: Position = TRIM_HORIZON
    at: datetime | None = None
    stream_created_at: datetime | None = None

    def following(self, rows: Iterable[Lease]) -> "InitialPosition":
        """The same, or what the rows say when there are any: whoever adds a row copies the earliest instant."""
        rows = list(rows)
        if not rows:
            return self
        instants = [row.started_at for row in rows if row.started_at is not None]
        if len(instants) < len(rows):  # a KCL has made some of them: nobody knows the instant of its first start
            return InitialPosition(TRIM_HORIZON, None, self.stream_created_at)
        latest = any(row.checkpoint == LATEST for row in rows) or self.position.kind is PositionKind.LATEST
        return InitialPosition(LATEST if latest else TRIM_HORIZON, min(instants), self.stream_created_at)

    def lease(self, shard: Shard) -> Lease:
        """The first row of a shard."""
        return Lease(
            shard.shard_id,
            self.position,
            shard.parents,
            hash_range=shard.hash_range,
            started_at=self.at,
            stream_created_at=self.stream_created_at,
        )


def missing(shards: Sequence[Shard], rows: Collection[str]) -> list[Shard]:
    """The listed shards that need a row, parents first.

    A shard one of whose descendants has a row was finished before, and its own row tidied away: reading it again
    would repeat it. A merge's child waits until each listed parent has a row, else it could overtake one.
    """
    listed = {shard.shard_id: shard for shard in shards}
    finished = _ancestors(listed, rows)
    have = set(rows)
    needed = []
    for shard in sorted(shards, key=lambda shard: (shard.starting_sequence, shard.shard_id)):
        waits = [
            parent for parent in shard.parents if parent in listed and parent not in have and parent not in finished
        ]
        if shard.shard_id not in have and shard.shard_id not in finished and not waits:
            needed.append(shard)
            have.add(shard.shard_id)
    return needed


def _ancestors(listed: Mapping[str, Shard], rows: Collection[str]) -> set[str]:
    """All listed shards that have a descendant with a row."""
    found: set[str] = set()
    upwards = [shard_id for shard_id in rows if shard_id in listed]
    while upwards:
        for parent in listed[upwards.pop()].parents:
            if parent in listed and parent not in found:
                found.add(parent)
                upwards.append(parent)
    return found


def runnable(rows: Sequence[Lease]) -> list[Lease]:
    """The rows that may be read now: not ended, and every parent is. A parent without a row has ended long ago."""
    open_rows = {row.shard_id for row in rows if not row.ended}
    return [row for row in rows if not row.ended and open_rows.isdisjoint(row.parents)]


def tombstones(rows: Sequence[Lease], listed: Collection[str]) -> list[Lease]:
    """The ended rows that nothing needs any more: the stream has forgotten the shard, and its children have moved on.

    Kept as long as the shard is listed, so that no listing, however old, can bring a finished shard back.
    """
    idle = {row.shard_id for row in rows if not row.ended and row.checkpoint.kind is not PositionKind.SEQUENCE}
    started = {parent for row in rows if row.shard_id in idle for parent in row.parents}
    return [row for row in rows if row.ended and row.shard_id not in listed and row.shard_id not in started]


def unfinished(rows: Iterable[Lease]) -> frozenset[str]:
    """Return the shards whose rows have not ended."""
    return frozenset(row.shard_id for row in rows if not row.ended)


def covered(rows: Sequence[Lease]) -> bool:
    """Do the unfinished rows cover all hash keys? If not, or if nobody can tell, some shard has no row."""
    ranges = [row.hash_range for row in rows if not row.ended]
    if len(ranges) > 1 and FULL_HASH_RANGE in ranges:
        return False  # a KCL 1.x row does not say its range
    return covers(ranges)
