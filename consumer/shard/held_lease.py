"""One worker's hold of one lease, from take to loss: the checkpointer that every delivery stands behind.

Every write is conditional on owner, token and counter of the row as this worker wrote it last, and there is one write
at a time: a renewal and a checkpoint never cross. Nobody waits for the other's; the later one is told to come again.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from consumer.errors import LeaseLost, LeaseStale, LeaseTableUnavailable
from consumer.leases import Change, Lease, LeaseTable, NextOwner, Pending, WorkerIdentity, Written
from consumer.leases.lease import checkpointed, departing, handed_on, later, prepared, renewed, trimmed_unread
from consumer.records import Position
from consumer.runtime.clock import Clock
from consumer.shard.throughput import Throughput

# How long to wait for the other write to this lease to end, seconds; a write to a table takes milliseconds.
BUSY = 0.02
# How long to wait for a renewal when the lease may have run out, seconds: looking costs nothing.
STALE = 0.5
# How long the distance from the tip is not believed after a record that is older than the retention, seconds.
DOUBT = 10.0


class HeldLease:
    """Holds while no write has found the row changed by somebody else, and no longer than `duration` after the last.

    The deadline counts from *before* the write was sent: for the others the lease cannot run out sooner. Past it
    nothing is delivered, but the lease is not given up: as long as nobody has taken it, a renewal makes it good again.
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
        """The prepared batch that is not yet checkpointed."""
        return self.lease.pending

    @property
    def lost(self) -> bool:
        """Return whether this worker no longer holds the lease."""
        return self._lost

    def began(self, sent: float) -> "HeldLease":
        """Count the first deadline from the instant before the lease was taken."""
        self._deadline = sent + self._duration
        return self

    def announce_drain(self, next_owner: NextOwner | None) -> None:
        """Mark each later write as draining, and name the next owner if it is one of our workers."""
        self._draining, self._next_owner = True, next_owner.worker_id if next_owner and next_owner.ours else None

    def ensure_held(self) -> None:
        """Return if something may be delivered at this instant.

        Raises:
            LeaseLost: somebody else has the lease.
            LeaseStale: it may have run out; a renewal will tell.
        """
        if self._lost:
            raise LeaseLost
        if self._clock() >= self._deadline:
            raise LeaseStale(retry_after=STALE)

    def prepare(self, pending: Pending) -> None:
        """Store the batch's end and name before its write (docs/guarantees.md#two-phase-checkpoints)."""
        self._write(lambda lease: self._told(prepared(lease, self._worker, pending)))

    def delivering(self, arrived: datetime | None, outlived: bool) -> None:
        """Remember for the next checkpoint when the last record of a batch arrived.

        `outlived`: the record is older than the retention, so the stream's times are not what they seem (a retention
        that was lowered just now, a clock). For a while the row then says no more than what was delivered.
        """
        self._arrived = arrived
        if outlived:
            self._doubt_until = self._clock() + DOUBT

    @property
    def _sure(self) -> datetime | None:
        """What the row may say of `read_to`."""
        return self.read_to if self._clock() >= self._doubt_until else None

    def trimmed(self, start: datetime | None, end: datetime) -> None:
        """Let each write from now on say what may have been trimmed unread, so that `doctor` can tell it later."""
        self._trimmed = (start, end)

    def checkpoint(self, position: Position, children: tuple[str, ...] = ()) -> None:
        """Store `position` as delivered. Safe to call again after a failure."""
        read_to = later(self._sure, self._arrived)
        self._write(lambda lease: self._told(checkpointed(lease, self._worker, position, read_to, children)))
        self.read_to = later(self.read_to, read_to)

    def hand_off(self, next_owner: NextOwner | None) -> None:
        """Offer the lease to `next_owner`, or release it when there is none. No later write is possible."""
        self._write(lambda lease: self._with_loss(handed_on(lease, self._worker, next_owner, self._sure)))
        self._lost = True

    def begin_renewal(self) -> Change | None:
        """The renewal to send; None when there is nothing to renew, or another write is under way and renews it too."""
        if self._lost or not self._writing.acquire(blocking=False):
            return None
        throughput = self.throughput.measure(self._clock())
        return Change(self.lease, self._told(renewed(self.lease, self._worker, self._sure, throughput)))

    def end_renewal(self, written: Written | None, sent: float) -> bool:
        """Take in the answer to a renewal, None when there was none. False: renew again at once."""
        try:
            return written is None or self._settle(written, sent)
        except LeaseLost:
            return True
        finally:
            self._writing.release()

    def _told(self, after: Lease) -> Lease:
        after = self._with_loss(after)
        return departing(after, self._next_owner) if self._draining and not after.ended else after

    def _with_loss(self, after: Lease) -> Lease:
        return after if self._trimmed is None else trimmed_unread(after, *self._trimmed)

    def _write(self, step: Callable[[Lease], Lease]) -> None:
        self.ensure_held()
        with self._alone():
            settled = False
            while not settled:
                sent = self._clock()
                [written] = self._table.write([Change(self.lease, step(self.lease))])
                settled = self._settle(written, sent)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._writing.acquire(blocking=False):
            raise LeaseTableUnavailable("another write to the lease is under way", retry_after=BUSY)
        try:
            yield
        finally:
            self._writing.release()

    def _settle(self, written: Written, sent: float) -> bool:
        """Take in an answer; False: the row is ours but other than thought, so the write has to be made again.

        That is a write of ours whose answer was lost, or a KCL's leader has begun to move the lease: neither costs it.
        """
        row = written.row
        if row is not None and (written.done or (row.held_by(self._worker) and row != self.lease)):
            self.lease = row
            if written.done:
                self._deadline = sent + self._duration
            return written.done
        self._lost = True
        raise LeaseLost
