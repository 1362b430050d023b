"""Stop a shard before a record that a policy rejects, and read on when an operator says so.

The halt is stored in the lease row. So it survives a restart, other workers and commands see it, and
`checkpoints resume` removes it or marks the record as skipped. Everything before the record is delivered first.
"""

from collections.abc import Sequence
from typing import Any

from consumer.errors import RecordHalts
from consumer.leases import Halt
from consumer.records import Position, Record
from consumer.shard.context import ShardContext
from consumer.shard.held_lease import HeldLease

# Seconds between checks whether an operator has decided. The decision arrives with a renewal.
CHECK_INTERVAL = 1.0


class Halting:
    """Whether and where one shard is halted. `judge` decides about its rejected events."""

    def __init__(self, held_lease: HeldLease, context: ShardContext, log: Any) -> None:
        self._held_lease, self._context, self._log = held_lease, context, log
        self._found: RecordHalts | None = None  # not stored yet
        self._reached: int | None = None  # nothing before this record is left to read
        self._told: int | None = None  # the record that log and metric name
        self.judge = context.pipeline.judge(self._spared, context.clock)

    @property
    def stop(self) -> int | None:
        """Return the sequence number of the first record that must not be read, or None."""
        if self._found is not None:
            return self._found.sequence
        halt = self._halt
        return halt.sequence if halt is not None and not halt.skip else None

    @property
    def _halt(self) -> Halt | None:
        """Return the stored halt, unless the checkpoint was moved beyond it."""
        lease = self._held_lease.lease
        passed = lease.halted is not None and Position.of(lease.halted.sequence) <= lease.checkpoint
        return None if passed else lease.halted

    @property
    def text(self) -> str:
        """Return why the shard is halted, or ""."""
        halt = self._halt
        return f"halted by {halt.reason} at {halt.sequence}" if halt is not None and not halt.skip else ""

    def found(self, error: RecordHalts) -> None:
        """Note that a record halts the shard. `store` stores it."""
        self._found = error

    def store(self) -> None:
        """Store a halt that was found; before it an earlier record that is skipped must be delivered.

        Raises:
            Retryable, LeaseLost: as `HeldLease.halt` raises them; call again.
        """
        halt = self._halt
        skips = halt is not None and halt.skip and self._reached is None
        if self._found is not None and not skips:
            self._held_lease.halt(Halt(self._found.reason, self._found.sequence))
            self._found = None

    def blocks(self, backlog: Sequence[Record]) -> bool:
        """Return whether only records that must not be read are left."""
        stop, pending = self.stop, self._held_lease.lease.pending
        if stop is None:
            self._resume()
            return False
        prepared = pending is not None and pending.end.sequence >= stop
        if self._reached != stop and (prepared or (backlog and backlog[0].sequence >= stop)):
            self._reached = stop
        if self._reached == stop and self._told != stop and self._found is None:
            self._tell(stop)
        return self._reached == stop

    def _tell(self, stop: int) -> None:
        self._told = stop
        self._context.metrics.shard_halted(self._held_lease.shard_id, halted=True)
        self._log.error(
            "shard.halted",
            error=self.text,
            remedy="call-consumer checkpoints resume, with --skip to make the record a dead letter",
        )

    def _resume(self) -> None:
        if self._told is not None:
            self._log.info("shard.resumed", sequence=str(self._told))
            self._context.metrics.shard_halted(self._held_lease.shard_id, halted=False)
        self._reached = self._told = None

    def _spared(self, sequence: int) -> bool:
        lease = self._held_lease.lease
        skipped = lease.halted is not None and lease.halted.skip and lease.halted.sequence == sequence
        return skipped or (lease.pending is not None and sequence <= lease.pending.end.sequence)
