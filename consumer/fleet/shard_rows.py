"""Create the lease rows of the stream's shards, and know whether every shard has one."""

from collections.abc import Sequence
from typing import Any

from consumer.errors import StreamUnavailable
from consumer.fleet.initial_position import InitialPosition
from consumer.fleet.lineage import covered, missing, unfinished
from consumer.leases import Lease, LeaseTable
from consumer.records import Shard
from consumer.runtime.clock import Clock
from consumer.shard.listing import complete, doubtful
from consumer.streams import Stream

# Seconds for which a listing that may lack shards has to stay the same before it is trusted.
CONFIRM_AFTER = 1.0


class ShardRows:
    """Create a row for each shard that the stream lists.

    `discovered`: a trusted listing was made, and each of its shards has a row.
    """

    def __init__(
        self, table: LeaseTable, stream: Stream, initial_position: InitialPosition, clock: Clock, log: Any
    ) -> None:
        self._table, self._stream, self._clock, self._log = table, stream, clock, log
        self.initial_position = initial_position
        self.discovered = False
        self._doubted: tuple[frozenset[str], float] | None = None  # a listing that may lack shards, and since when
        self._confirmed: frozenset[str] | None = None  # the unfinished shards when a trusted listing added no row

    def confirm(self, rows: Sequence[Lease]) -> None:
        """Note that a listing that can be trusted needs no other rows than these."""
        self.discovered = True
        self._confirmed = unfinished(rows)

    def has_every_shard(self, rows: Sequence[Lease]) -> bool:
        """Return whether no row is missing: they cover all hash keys, or match the last trusted listing."""
        return covered(rows) or self._confirmed == unfinished(rows)

    def trusts(self, shards: Sequence[Shard]) -> bool:
        """Return whether a listing is complete. One that may lack shards must stay the same for `CONFIRM_AFTER`."""
        if not complete(shards) or not doubtful(shards):
            return complete(shards)
        shard_ids, now = frozenset(shard.shard_id for shard in shards), self._clock()
        if self._doubted is None or self._doubted[0] != shard_ids:
            self._doubted = (shard_ids, now)
        return now - self._doubted[1] >= CONFIRM_AFTER

    def add(self, shards: Sequence[Shard]) -> list[Lease]:
        """Create the missing rows for a listing; return all rows as they were before."""
        rows = list(self._table.scan())
        position = self.initial_position.following(rows)
        for shard in missing(shards, {row.shard_id for row in rows} | self._table.unreadable().keys()):
            self._table.create(position.lease(shard))
            self._log.info("lease.created", shard=shard.shard_id, position=str(position.position))
        return rows

    def register(self, parent: Lease, children: Sequence[Shard]) -> tuple[str, ...]:
        """Create rows for the children of an ended shard; return their shard ids, sorted.

        The stream is listed too, because some emulators name no children, or only their ids. If the listing cannot be
        trusted, only the children get rows.

        Raises:
            StreamUnavailable: another parent of a child has no row yet, so that parent would count as ended.
        """
        shards = list(self._stream.shards())
        named, listed = ({shard.shard_id for shard in some} for some in (children, shards))
        family = [shard for shard in shards if shard.shard_id in named or parent.shard_id in shard.parents]
        unlisted = [child for child in children if child.shard_id not in listed]
        trusted = self.trusts(shards)
        known = {row.shard_id for row in self._table.scan()} | {parent.shard_id} | (listed if trusted else set())
        uncertain = unlisted if trusted else family + unlisted
        if any(other not in known for child in uncertain for other in child.parents):
            raise StreamUnavailable("the listing lacks a parent of this shard's children; looking again")
        if unlisted:
            names, note = [child.shard_id for child in unlisted], "they are read as soon as the stream knows them"
            self._log.warning("children.not_listed", shard=parent.shard_id, children=names, note=note)
        self.add((shards if trusted else family) + unlisted)
        return tuple(sorted(named | {shard.shard_id for shard in family}))
