"""Find out whether a lease has a live owner. A row contains no time, so watch whether its counter moves."""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from consumer.checkpoints.patience import patiently
from consumer.errors import ConfigurationError
from consumer.leases import Lease, LeaseTable
from consumer.runtime.clock import Clock

# An owner counts as dead after this many lease durations without a renewal. A worker would take over after one.
WATCHED = 1.5
LOOKS = 20  # reads of the rows in that time
SLOWEST = 1.0  # seconds between two reads at most


@dataclass(frozen=True, slots=True)
class Owners:
    """Watch rows for one lease duration, in seconds, and a margin. `tell` is told in words what takes so long."""

    table: LeaseTable
    lease_duration: float
    tell: Callable[[str], None]
    clock: Clock = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def require_dead(self, shard_ids: Collection[str]) -> bool:
        """Return once no unfinished row among these has a live owner: whether one had an owner at first.

        Raises:
            ConfigurationError: one has.
        """
        first = {row.shard_id: row for row in self._owned(shard_ids)}
        if not first:
            return False
        seconds = WATCHED * self.lease_duration
        self.tell(f"{len(first)} leases have an owner: watching for {seconds:.0f} s whether one is renewed")
        end = self.clock() + seconds
        while first and (left := end - self.clock()) > 0:
            self.sleep(min(left, SLOWEST, seconds / LOOKS))
            rows = self._owned(first)
            if moved := [row for row in rows if _life(row) != _life(first[row.shard_id])]:
                raise ConfigurationError(_alive(moved))
            first = {row.shard_id: first[row.shard_id] for row in rows}
        return True

    def _owned(self, shard_ids: Collection[str]) -> list[Lease]:
        if not shard_ids:
            return []  # the table may be missing, and a read would create its file
        rows: Sequence[Lease] = patiently(lambda: self.table.read(list(shard_ids)), self.sleep)
        return [row for row in rows if not row.ended and (row.owner or row.checkpoint_owner)]


def _life(row: Lease) -> tuple[object, ...]:
    return row.counter, row.owner, row.checkpoint_owner


def _alive(rows: Sequence[Lease]) -> str:
    owners = sorted({row.checkpoint_owner or str(row.owner) for row in rows})
    more = f" and {len(owners) - 1} more" if len(owners) > 1 else ""
    return (
        f"worker {owners[0]}{more} is live and owns {rows[0].shard_id}: stop the workers of this application first;"
        " they release their leases when they end"
    )
