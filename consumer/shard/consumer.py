"""Read one leased shard: fetch, decode, buffer and deliver, one of these per step.

One batch is in flight at a time. So the checkpoint is the last record of the batch, and not fetching is all the
back-pressure there is. When the lease may be lost, undelivered records are dropped, and the next owner reads them again
from the checkpoint.
"""

from collections.abc import Callable, Hashable, Sequence

from consumer.errors import ConfigurationError, IteratorExpired, LeaseLost, OutputClosed, RecordHalts, Retryable
from consumer.leases import Lease, NextOwner
from consumer.pipeline.batching import Batch
from consumer.records import SHARD_END, Fetched, Shard
from consumer.shard.batch_assembly import BatchAssembly
from consumer.shard.context import ShardContext
from consumer.shard.halting import CHECK_INTERVAL, Halting
from consumer.shard.handoff import HandoffRequest
from consumer.shard.held_lease import HeldLease
from consumer.shard.reader import ShardReader
from consumer.shard.retries import ShardFailures
from consumer.shard.trimming import TrimWatch
from consumer.telemetry.metrics import LeaseEvent

# Seconds until a shard asks the memory budget again. The largest holder needs about as long to deliver.
WAIT_FOR_BUDGET = 0.1

# Create rows for the children of an ended shard, and return their shard ids.
Register = Callable[[Lease, Sequence[Shard]], tuple[str, ...]]


class ShardConsumer:
    """A task that reads one shard until it ends, its lease is handed off, or its lease is lost.

    `over`: the task has ended. `undelivered`: fetched records were given up although the lease was held to the end.
    """

    def __init__(self, held_lease: HeldLease, context: ShardContext, register: Register) -> None:
        self.held_lease, self._context, self._register = held_lease, context, register
        self.shard_id = held_lease.shard_id
        self.over, self.undelivered = False, False
        self._reader = ShardReader(held_lease.lease, context)
        self._log = context.log.bind(shard=self.shard_id)
        self._halting = Halting(held_lease, context, self._log)
        self._assembly = BatchAssembly(held_lease, self._reader, context, self._halting)
        self.delivery = context.pipeline.delivery(held_lease, context.clock, self._halting.judge)
        self._handoff = HandoffRequest()
        self.failures = ShardFailures(context, self._handoff, self.shard_id, self._log)
        self._trimming = TrimWatch(held_lease, context)
        context.metrics.shard_added(self.shard_id)
        self._trimming.tell_expiry()
        self._restart()

    def _restart(self) -> None:
        """Drop everything read since the checkpoint."""
        self._reader.start_from(self.held_lease.lease.start)
        self._trimming.restart()
        self._batch: Batch | None = None
        self._assembly.clear()
        self._context.budget.settle(self.shard_id, 0)

    # Requests of other tasks -----------------------------------------------------------------------------------------

    def hand_off(self, next_owner: NextOwner | None, until: float = float("inf")) -> None:
        """Deliver what was fetched, then hand the lease off to `next_owner`, or release it for None.

        Failed deliveries are retried until `until`, by the worker's clock. What is undelivered then is left to the next
        owner. Only a checkpoint after written rows is still retried, because without it they would be written again.
        """
        if not self._handoff.asked:
            self.failures.handoff_requested()
        self._handoff.ask(next_owner, until)

    def discard(self, reason: str) -> None:
        """Release the lease without delivering what is buffered. The log line gives `reason`."""
        self._handoff.discard(reason)

    def cancel_read(self) -> None:
        """Release the lease although a read is running. Nothing is being written then, so nothing will be repeated.

        Do nothing while undelivered rows wait for the read and there is still time to deliver them.

        Raises:
            Retryable: the lease table failed; try again.
        """
        with self._reader.under_way() as under_way:
            late = self._handoff.too_late(self._context.clock())
            if under_way and not self.over and (late or not self._holds_records):
                self._hand_off()
                self.over = True

    @property
    def _holds_records(self) -> bool:
        """Return whether fetched records are undelivered."""
        return self._batch is not None or not self._assembly.empty or bool(self._reader.backlog)

    @property
    def progress(self) -> Hashable:
        """Return a value that changes whenever records are fetched or delivered, or the tip is seen."""
        lease = self.held_lease
        return self._reader.furthest, self._reader.tip.read_to, lease.read_to, lease.lease.checkpoint

    @property
    def obstacle(self) -> str:
        """Return why the shard may make no progress, in words."""
        state = "the sink has not taken its fetched records yet" if self._holds_records else self._reader.tip.state
        return self._halting.text or self.failures.text or state

    # The state machine -----------------------------------------------------------------------------------------------

    def step(self, now: float) -> float | None:
        """Do the next piece of work; return the seconds until the next step, or None at the end.

        Raises:
            OutputClosed, ConfigurationError: the run must end, because rows have no reader or the stream is unreadable.
        """
        try:
            delay: float | None = self._advance(now)
        except LeaseLost:
            if not self.over:
                self._log.warning("lease.lost")
                self._context.metrics.lease_changed(LeaseEvent.LOST)
            self._finish()
            delay = None
        except (OutputClosed, ConfigurationError) as error:
            self.discard(str(error))
            raise
        except IteratorExpired:
            self._reader.reopen()
            delay = self.failures.iterator_expired()
        except Retryable as error:
            delay = self.failures.temporary(error, self._batch is not None)  # keep the buffer
            if self._batch is not None:
                self._assembly.release_memory()
                self._settle()
        except Exception as error:
            # One bad shard never stops the others. It keeps its lease and is read again from the checkpoint.
            delay = self.failures.unforeseen(error)
            self._restart()
        return delay

    def _advance(self, now: float) -> float | None:
        if self._handoff.asked and (self._handoff.too_late(now) or self._cannot_replay()):
            self._give_up()
        self.held_lease.ensure_held()
        self._halting.store()
        try:
            return self._work(now, self._halting.blocks(self._reader.backlog))
        except RecordHalts as error:
            self._halting.found(error)
            self._restart()
            return 0.0

    def _work(self, now: float, blocked: bool) -> float | None:
        if self._batch is not None or self._assembly.is_due(now, self._handoff.asked, blocked):
            if not self._assembly.may_write():
                return WAIT_FOR_BUDGET
            self._deliver()
        elif blocked and (self._reader.backlog or not self._assembly.empty):
            self._restart()  # frees the memory
        elif self._reader.backlog:
            return self._decode(now)
        elif self._handoff.asked and self._assembly.empty:
            self._hand_off()
            self._finish()
            return None
        elif blocked:
            return CHECK_INTERVAL
        elif self._reader.ended:
            self._end_shard()
            return None
        else:
            return self._fetch(now)
        return 0.0

    def _deliver(self) -> None:
        self._batch = batch = self._batch or self.delivery.resume(self._assembly.batch())
        self._trimming.delivers(batch)
        self.delivery.deliver(batch)
        self._log.debug("batch.delivered", position=str(batch.end), records=batch.tally.fetched)
        self._reader.start, self._batch = batch.end, None
        self.failures.delivery_worked()
        self._context.metrics.batch_delivered(self.shard_id)
        self._assembly.clear()
        self._settle()

    def _settle(self) -> None:
        """Tell the memory budget, the lease and the metrics what is read and what is held."""
        self._assembly.settle()
        if self._assembly.empty and not self._reader.backlog and self._reader.tip.read_to is not None:
            self.held_lease.read_to = self._reader.tip.read_to
        self._trimming.tell_expiry()

    def _fetch(self, now: float) -> float:
        if (wait := self._reader.wait(now)) > 0:
            return wait
        if not self._assembly.may_fetch():
            return WAIT_FOR_BUDGET
        try:
            fetched = self._reader.fetch(now)
        finally:
            self._settle()  # also after a failed read, else each retry would reserve more
        self.failures.read_worked()
        if fetched is None:
            self._trimming.gone()
            return 0.0
        self._note(fetched)
        return max(0.0, min(self._reader.next_read, self._assembly.ripe_in(now)))

    def _note(self, fetched: Fetched) -> None:
        """Report a response to log, metrics and the watch for trimmed records."""
        behind = fetched.millis_behind
        self._log.debug("shard.fetched", records=len(fetched.records), bytes=fetched.size, millis_behind=behind)
        self._trimming.check(fetched, self._reader.tip.read_to)
        self.held_lease.throughput.add(fetched.size)
        self._context.metrics.lag_reported(self.shard_id, None if behind is None else behind / 1000)

    def _decode(self, now: float) -> float:
        decoded = self._assembly.decode(now)
        self._settle()
        if not decoded:
            return WAIT_FOR_BUDGET
        self._log.debug("shard.decoded", buffered=self._assembly.memory, backlog=len(self._reader.backlog))
        return 0.0

    def _end_shard(self) -> None:
        """Create the children's rows, then checkpoint SHARD_END. Everything is delivered already."""
        children = self._register(self.held_lease.lease, self._reader.children)
        self.held_lease.checkpoint(SHARD_END, children)
        self.failures.delivery_worked()
        self._context.metrics.batch_delivered(self.shard_id)
        self._log.info("shard.ended", children=list(children))
        self._context.metrics.lease_changed(LeaseEvent.FINISHED)
        self._finish()

    def _cannot_replay(self) -> bool:
        """Return whether a prepared batch cannot be completed, so that a handoff must not wait for it."""
        return self._batch is None and self._assembly.cannot_complete()

    def _give_up(self) -> None:
        """Leave what is undelivered to the next owner, except a checkpoint after rows that are written."""
        if self._batch is not None and not self._batch.work:
            return
        if self._holds_records:
            unread = "the stream has not shown the rest of a batch that was prepared earlier"
            error = self._handoff.reason or self.failures.text or (unread if self._cannot_replay() else "no time left")
            self._log.warning("batch.dropped", error=error, note="delivered again by the next owner")
        self._restart()

    def _hand_off(self) -> None:
        next_owner, event = self._handoff.next_owner, self._handoff.event
        self.held_lease.hand_off(next_owner)
        self.undelivered = not self._halting.text and self._reader.has_read_past(self.held_lease.lease.checkpoint)
        self._log.info(f"lease.{event.value}", to=next_owner.worker_id if next_owner else None)
        self._context.metrics.lease_changed(event)

    def _finish(self) -> None:
        self._restart()
        self._context.metrics.shard_removed(self.shard_id)
        self.failures.forget()
        self.over = True
