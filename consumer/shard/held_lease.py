"""Hold one lease from take to loss, and checkpoint under it.

Every write is conditional on owner, token and counter of the row as this worker wrote it last
(docs/guarantees.md#fenced-writes). One write is outstanding at a time: a renewal and a checkpoint never cross. The
later one does not wait for the other; it is retried.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from consumer.errors import LeaseLost, LeaseStale, LeaseTableUnavailable
from consumer.leases import Change, Halt, Lease, LeaseTable, NextOwner, Pending, WorkerIdentity, Written
from consumer.leases.lease import (
    checkpointed,
    halted,
    handed_off,
    later,
    marked_draining,
    prepared,
    renewed,
    trimmed_unread,
)
from consumer.records import Position
from consumer.runtime.clock import Clock
from consumer.shard.throughput import Throughput

# Seconds until a write is retried because another one is outstanding. A write to a table takes milliseconds.
BUSY = 0.02
# Seconds between checks whether a renewal has restored a lease that may have expired. A check costs nothing.
STALE = 0.5
# Seconds for which `read_to` is not stored after a record older than the retention arrived.
DOUBT = 10.0


class HeldLease:
    """The lease of one shard, valid for `duration` seconds after the last write and until a write shows its loss.

    The deadline counts from *before* the write was sent, because for other workers the lease cannot expire sooner.
    After it nothing is delivered, but the lease is kept: while no other worker has taken it, a renewal restores it.
    """

    def __init__(self, table: LeaseTable, lease: Lease, worker: WorkerIdentity, duration: float, clock: Clock) -> None:
        self.lease = lease
        self.throughput = Throughput(lease.throughput, clock())
        self.read_to: datetime | None = lease.read_to
        self._arrived: datetime | None = None
        self._doubt_until = float("-inf")
        self._trimmed: tuple[datetime | None, datetime] | None = None
        self._draining = False
        self._next_owner: str | None = None
        self._table, self._worker, self._duration, self._clock = table, worker, duration, clock
        self._deadline = clock()
        self._lost = False
        self._writing = threading.Lock()

    @property
    def shard_id(self) -> str:
        return self.lease.shard_id

    @property
    def pending(self) -> Pending | None:
        """Return the prepared batch that is not yet checkpointed, if any."""
        return self.lease.pending

    @property
    def lost(self) -> bool:
        """Return whether this worker no longer holds the lease."""
        return self._lost

    def began(self, sent: float) -> "HeldLease":
        """Count the first deadline from `sent`, the time just before the lease was taken; return self."""
        self._deadline = sent + self._duration
        return self

    def announce_drain(self, next_owner: NextOwner | None) -> None:
        """Mark each later write as draining, and name the next owner if it is one of our workers."""
        self._draining, self._next_owner = True, next_owner.worker_id if next_owner and next_owner.ours else None

    def ensure_held(self) -> None:
        """Return if a delivery may be made now.

        Raises:
            LeaseLost: another worker has the lease.
            LeaseStale: the lease may have expired; the next renewal shows it.
        """
        if self._lost:
            raise LeaseLost
        if self._clock() >= self._deadline:
            raise LeaseStale(retry_after=STALE)

    def prepare(self, pending: Pending) -> None:
        """Store the batch's end and name before its write (docs/guarantees.md#two-phase-checkpoints)."""
        self._write(lambda lease: self._with_drain(prepared(lease, self._worker, pending)))

    def delivering(self, arrived: datetime | None, outlived: bool) -> None:
        """Note when the last record of a batch arrived, to be stored with its checkpoint.

        `outlived`: the record is older than the retention, so the times cannot be trusted: the retention was lowered
        just now, or a clock is wrong. Then `read_to` is not stored for `DOUBT` seconds.
        """
        self._arrived = arrived
        if outlived:
            self._doubt_until = self._clock() + DOUBT

    @property
    def _read_to(self) -> datetime | None:
        """Return `read_to` if it can be trusted, else None."""
        return self.read_to if self._clock() >= self._doubt_until else None

    def trimmed(self, start: datetime | None, end: datetime) -> None:
        """Store with each later write what may have been trimmed unread, so that `doctor` can report it."""
        self._trimmed = (start, end)

    def checkpoint(self, position: Position, children: tuple[str, ...] = ()) -> None:
        """Store `position` as delivered. Safe to call again after a failure."""
        read_to = later(self._read_to, self._arrived)
        self._write(lambda lease: self._with_drain(checkpointed(lease, self._worker, position, read_to, children)))
        self.read_to = later(self.read_to, read_to)

    def halt(self, halt: Halt) -> None:
        """Store that this shard is not read from a record on, until an operator decides."""
        self._write(lambda lease: self._with_drain(halted(lease, self._worker, halt)))

    def hand_off(self, next_owner: NextOwner | None) -> None:
        """Offer the lease to `next_owner`, or release it for None. No later write is possible."""
        self._write(lambda lease: self._with_trimmed(handed_off(lease, self._worker, next_owner, self._read_to)))
        self._lost = True

    def begin_renewal(self) -> Change | None:
        """Return the renewal to send, or None if the lease is lost or an outstanding write renews it anyway."""
        if self._lost or not self._writing.acquire(blocking=False):
            return None
        throughput = self.throughput.measure(self._clock())
        return Change(self.lease, self._with_drain(renewed(self.lease, self._worker, self._read_to, throughput)))

    def end_renewal(self, written: Written | None, sent: float) -> bool:
        """Take over the result of a renewal (None: unknown); return False if it should be repeated at once."""
        try:
            return written is None or self._settle(written, sent)
        except LeaseLost:
            return True
        finally:
            self._writing.release()

    def _with_drain(self, after: Lease) -> Lease:
        after = self._with_trimmed(after)
        return marked_draining(after, self._next_owner) if self._draining and not after.ended else after

    def _with_trimmed(self, after: Lease) -> Lease:
        return after if self._trimmed is None else trimmed_unread(after, *self._trimmed)

    def _write(self, step: Callable[[Lease], Lease]) -> None:
        self.ensure_held()
        with self._exclusive():
            settled = False
            while not settled:
                sent = self._clock()
                [written] = self._table.write([Change(self.lease, step(self.lease))])
                settled = self._settle(written, sent)

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        if not self._writing.acquire(blocking=False):
            raise LeaseTableUnavailable("another write to the lease is outstanding", retry_after=BUSY)
        try:
            yield
        finally:
            self._writing.release()

    def _settle(self, written: Written, sent: float) -> bool:
        """Take over the result of a write; return False if the write must be repeated on the changed row.

        The row is still ours then: an earlier write arrived although its response was lost, or a KCL's leader has
        started to move the lease.
        """
        row = written.row
        if row is not None and (written.done or (row.held_by(self._worker) and row != self.lease)):
            self.lease = row
            if written.done:
                self._deadline = sent + self._duration
            return written.done
        self._lost = True
        raise LeaseLost
