"""Keep parents before children: which rows are missing, which shards may be read, which rows can go. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from consumer.leases import Lease
from consumer.records import FULL_HASH_RANGE, PositionKind, Shard
from consumer.shard.listing import covers


def missing(shards: Sequence[Shard], rows: Collection[str]) -> list[Shard]:
    """Return the listed shards that need a row, parents first. `rows`: the shards that have one.

    If a descendant of a shard has a row, the shard was finished before and its own row was removed. Reading it again
    would repeat it. The child of a merge waits until each listed parent has a row, else it could overtake a parent.
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
    """Return all listed shards that have a descendant with a row."""
    found: set[str] = set()
    upwards = [shard_id for shard_id in rows if shard_id in listed]
    while upwards:
        for parent in listed[upwards.pop()].parents:
            if parent in listed and parent not in found:
                found.add(parent)
                upwards.append(parent)
    return found


def runnable(rows: Sequence[Lease]) -> list[Lease]:
    """Return the rows whose shards may be read now: not ended, and all parents have ended.

    A parent without a row has ended long ago.
    """
    open_rows = {row.shard_id for row in rows if not row.ended}
    return [row for row in rows if not row.ended and open_rows.isdisjoint(row.parents)]


def tombstones(rows: Sequence[Lease], listed: Collection[str]) -> list[Lease]:
    """Return the ended rows that can be deleted: the stream no longer lists the shard, and its children have moved on.

    The row of a listed shard stays, so that no listing, however old, makes a finished shard look new.
    """
    idle = {row.shard_id for row in rows if not row.ended and row.checkpoint.kind is not PositionKind.SEQUENCE}
    started = {parent for row in rows if row.shard_id in idle for parent in row.parents}
    return [row for row in rows if row.ended and row.shard_id not in listed and row.shard_id not in started]


def unfinished(rows: Iterable[Lease]) -> frozenset[str]:
    """Return the shards whose rows have not ended."""
    return frozenset(row.shard_id for row in rows if not row.ended)


def covered(rows: Sequence[Lease]) -> bool:
    """Return whether the unfinished rows cover all hash keys, so that no shard can lack a row."""
    ranges = [row.hash_range for row in rows if not row.ended]
    if len(ranges) > 1 and FULL_HASH_RANGE in ranges:
        return False  # rows of a KCL 1.x do not contain their range
    return covers(ranges)
