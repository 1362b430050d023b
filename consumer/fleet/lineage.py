"""Parents before children: which rows a listing calls for, which shards may run, which tombstones can go. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from consumer.leases import Lease
from consumer.records import FULL_HASH_RANGE, PositionKind, Shard
from consumer.shard.listing import covers


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
