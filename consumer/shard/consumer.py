"""One leased shard: fetch, decode, buffer, deliver - a state machine that does one of these a step.

One batch is in flight at a time, so the watermark is the last record of the batch and back-pressure is simply not
fetching. It drops what it has not delivered whenever the lease may be somebody else's; the checkpoint says where the
next owner goes on.
"""

from collections.abc import Callable, Iterator, Sequence

from consumer.errors import ConfigurationError, IteratorExpired, LeaseLost, OutputClosed, Retryable
from consumer.leases import Lease, NextOwner
from consumer.pipeline.batching import Batch
from consumer.pipeline.intake import Processed
from consumer.records import SHARD_END, Record, Shard
from consumer.runtime.memory_budget import SHARE
from consumer.shard.context import ShardContext
from consumer.shard.handoff import HandoffRequest
from consumer.shard.held_lease import HeldLease
from consumer.shard.reader import ShardReader
from consumer.shard.retries import ShardFailures
from consumer.shard.trimming import TrimWatch
from consumer.telemetry.metrics import LeaseEvent

# What a prepared batch may hold in memory before it goes to disk; its end is fixed, so no limit can cut it.
REPLAY_MEMORY = 8 * 1024 * 1024
WAIT_FOR_BUDGET = 0.1
# Records of more bytes reserve memory before they are decoded: so many bytes for each of theirs.
LARGE_RECORD, DECODING = 1024 * 1024, 4
NOTE = "delivered again by the next owner"

Register = Callable[[Lease, Sequence[Shard]], tuple[str, ...]]


class ShardConsumer:
    """Read one shard under one lease until the shard ends, the lease is handed off, or it is lost.

    `undelivered`: records that were fetched were given up, although the lease was ours to the end.
    """

    def __init__(self, held_lease: HeldLease, context: ShardContext, register: Register) -> None:
        lease = held_lease.lease
        self.held_lease, self._context, self._register = held_lease, context, register
        self.shard_id = lease.shard_id
        self.over = False
        self._process = context.processor(Shard(lease.shard_id, lease.parents, lease.hash_range))
        self._reading = ShardReader(lease, context)
        self._intake, self._delivery = context.pipeline.intake(), context.pipeline.delivery(held_lease)
        self._log = context.log.bind(shard=self.shard_id)
        self._handoff = HandoffRequest()
        self.failures = ShardFailures(context, self._handoff, self.shard_id, self._log)
        self.undelivered = False
        self._trimming = TrimWatch(held_lease, context)
        context.metrics.held(self.shard_id)
        self._trimming.tell_expiry()
        self._empty()
        self._restart()

    def _restart(self) -> None:
        """Drop everything read since the checkpoint."""
        self._reading.start_from(self.held_lease.lease.start)
        self._trimming.restart()
        self._batch: Batch | None = None
        self._buffer.close()
        self._empty()
        self._context.budget.settle(self.shard_id, 0)

    def _empty(self) -> None:
        memory = REPLAY_MEMORY if self.held_lease.lease.pending else None
        self._buffer = self._context.pipeline.buffer(self.shard_id, memory)

    # What others ask of it -------------------------------------------------------------------------------------------

    def hand_off(self, next_owner: NextOwner | None, until: float = float("inf")) -> None:
        """Deliver what was fetched, then hand the lease to `next_owner`, or release it.

        A delivery that fails is tried again until `until`, by the engine's clock. What is left then is left to the next
        owner, but for a checkpoint behind rows that are written: without it they would be written again.
        """
        if not self._handoff.asked:
            self.failures.handoff_requested()
        self._handoff.ask(next_owner, until)

    def discard(self, reason: str) -> None:
        """Release the lease without delivering what is buffered. The log line gives `reason`."""
        self._handoff.discard(reason)

    def cancel_read(self) -> None:
        """Give the lease up although a read is under way: nothing is being written, so nothing will be repeated.

        A read is waited for as long as there is time while something waits behind it for its delivery.

        Raises:
            Retryable: not now; try again.
        """
        with self._reading.under_way() as under_way:
            if under_way and not self.over and (not self._holds or self._handoff.too_late(self._context.clock())):
                self._hand_off()
                self.over = True

    @property
    def _holds(self) -> bool:
        """Is there anything fetched that is not delivered?"""
        return self._batch is not None or not self._buffer.empty or bool(self._reading.backlog)

    # The state machine -----------------------------------------------------------------------------------------------

    def step(self, now: float) -> float | None:
        """Do the next piece of work.

        Raises:
            OutputClosed, ConfigurationError: the run ends: nobody reads the rows, or nothing can be read.
        """
        try:
            delay: float | None = self._advance(now)
        except LeaseLost:
            if not self.over:
                self._log.warning("lease.lost")
                self._context.metrics.leased(LeaseEvent.LOST)
            self._finish()
            delay = None
        except (OutputClosed, ConfigurationError) as error:
            self.discard(str(error))
            raise
        except IteratorExpired:
            self._reading.reopen()
            delay = self.failures.expired()
        except Retryable as error:
            delay = self.failures.waits(error, self._batch is not None)  # what is buffered stays
            if self._batch is not None:
                self._give_back()
        except Exception as error:
            # One bad shard never stops the others: it halts, keeps its lease, and is tried again from the checkpoint.
            delay = self.failures.halted(error)
            self._restart()
        return delay

    def _advance(self, now: float) -> float | None:
        if self._handoff.asked and (self._handoff.too_late(now) or self._replays_in_vain()):
            self._give_up()
        self.held_lease.ensure_held()
        if self._batch is not None or self._due(now):
            self._deliver()
        elif self._reading.backlog:
            return self._decode(now)
        elif self._handoff.asked and self._buffer.empty:
            self._hand_off()
            self._finish()
            return None
        elif self._reading.ended:
            self._end_shard()
            return None
        else:
            return self._fetch(now)
        return 0.0

    def _due(self, now: float) -> bool:
        """Is it time to deliver what is buffered?"""
        if self._buffer.empty or self.held_lease.lease.pending is not None:
            return self._complete()
        reading, eager = self._reading, self._context.polling.eager
        return (
            self._complete()
            or self._buffer.ripe_in(now) <= 0
            or self._context.budget.must_deliver(self.shard_id)
            or (
                not reading.backlog
                and (
                    self._context.budget.has_loan(self.shard_id)
                    or reading.ended
                    or self._handoff.asked
                    or (eager and reading.at_tip)
                )
            )
        )

    def _complete(self) -> bool:
        """Must the batch end here? One that was prepared ends exactly where the last try would have ended."""
        pending = self.held_lease.lease.pending
        if pending is None:
            return self._buffer.full()
        return self._buffer.last is not None and pending.end <= self._buffer.last

    def _replays_in_vain(self) -> bool:
        """Has the stream no more of a prepared batch? It can't be delivered in part."""
        exhausted = not self._reading.backlog and (self._reading.at_tip or self._reading.ended)
        return self.held_lease.lease.pending is not None and self._batch is None and exhausted and not self._complete()

    def _deliver(self) -> None:
        self._batch = batch = self._batch or self._delivery.resume(self._buffer.batch())
        self._trimming.delivers(self._batch)
        self._delivery.deliver(self._batch)
        self._log.debug("batch.delivered", position=str(batch.end), records=batch.tally.fetched)
        self._reading.start, self._batch = batch.end, None
        self.failures.has_delivered()
        self._context.metrics.progressed(self.shard_id)
        self._buffer.close()
        self._empty()
        self._settle()

    def _settle(self) -> None:
        reading = self._reading
        self._context.budget.settle(self.shard_id, self._buffer.size + reading.size)
        if self._buffer.empty and not reading.backlog and reading.read_to is not None:
            self.held_lease.read_to = reading.read_to
        self._trimming.tell_expiry()

    # Reading ---------------------------------------------------------------------------------------------------------

    def _fetch(self, now: float) -> float:
        reading, polling = self._reading, self._context.polling
        if (wait := reading.wait(now)) > 0:
            return wait
        if self.held_lease.lease.pending is None and not self._context.budget.reserve(self.shard_id, reading.need):
            return WAIT_FOR_BUDGET
        try:
            fetched = reading.fetch(now)
        finally:
            self._settle()  # a read that fails holds nothing; it would reserve more with each try
        self.failures.has_read()
        if fetched is None:
            self._trimming.gone()
            return 0.0
        behind = fetched.millis_behind
        self._log.debug("shard.fetched", records=len(fetched.records), bytes=fetched.size, millis_behind=behind)
        self._trimming.answered(fetched, reading.read_to)
        self.held_lease.throughput.add(fetched.size)
        self._context.metrics.behind(self.shard_id, None if behind is None else behind / 1000)
        if reading.backlog or reading.ended or not reading.at_tip or (polling.eager and not reading.settled):
            return 0.0
        return max(0.0, min(polling.poll_interval, self._buffer.ripe_in(now)))

    def _decode(self, now: float) -> float:
        """Decode fetched records until the batch is full, or there is no memory for the next one."""
        backlog = self._reading.backlog
        before = len(backlog)
        self._intake.take(self._buffer, self._undecoded(), now, self._reading.start)
        self._settle()
        if len(backlog) == before:
            return WAIT_FOR_BUDGET
        self._log.debug("shard.decoded", buffered=self._buffer.size, backlog=len(backlog))
        return 0.0

    def _undecoded(self) -> Iterator[tuple[Record, Processed]]:
        start, backlog = self._reading.start, self._reading.backlog
        # Nothing is prepared while records are decoded, so what ends the batch is asked once and not for each record.
        complete = self._buffer.full if self.held_lease.lease.pending is None else self._complete
        while backlog and not complete():
            if len(backlog[0].data) > LARGE_RECORD and not self._may_decode(len(backlog[0].data)):
                return
            record = backlog.popleft()
            if record.sequence >= start.sequence:  # which is 0 for a position that is no sequence number
                yield record, self._process(record, start)

    def _may_decode(self, size: int) -> bool:
        """Reserve the memory for a large record. A prepared batch has to be made again, and lies on disk."""
        return self._context.budget.reserve(self.shard_id, DECODING * size) or self.held_lease.lease.pending is not None

    def _give_back(self) -> None:
        """A delivery failed, and others need the memory: what is not decoded yet will be fetched again."""
        budget, lent = self._context.budget, self._context.budget.has_loan(self.shard_id)
        if (lent or budget.must_deliver(self.shard_id)) and self._reading.backlog:
            self._reading.go_back_to(self._buffer.last)
        if lent and self._buffer.size > SHARE:
            self._buffer.spill()
        self._settle()

    # Endings ---------------------------------------------------------------------------------------------------------

    def _end_shard(self) -> None:
        """Everything is delivered: the children get their rows, then this one says SHARD_END and stays."""
        children = self._register(self.held_lease.lease, self._reading.children)
        self.held_lease.checkpoint(SHARD_END, children)
        self.failures.has_delivered()
        self._context.metrics.progressed(self.shard_id)
        self._log.info("shard.ended", children=list(children))
        self._context.metrics.leased(LeaseEvent.FINISHED)
        self._finish()

    def _give_up(self) -> None:
        """Leave what is not delivered to the next owner, but for a checkpoint behind rows that are written."""
        if self._batch is not None and not self._batch.work:
            return
        if self._holds:
            error = self._handoff.reason or self.failures.text or self._shortage()
            self._log.warning("batch.dropped", error=error, note=NOTE)
        self._restart()

    def _shortage(self) -> str:
        if self._replays_in_vain():
            return "the stream has not shown the rest of a batch that was prepared earlier"
        return "no time was left"

    def _hand_off(self) -> None:
        next_owner, event = self._handoff.next_owner, self._handoff.event
        self.held_lease.hand_off(next_owner)
        self.undelivered = self._reading.furthest > self.held_lease.lease.checkpoint.sequence
        self._log.info(f"lease.{event.value}", to=next_owner.worker_id if next_owner else None)
        self._context.metrics.leased(event)

    def _finish(self) -> None:
        self._restart()
        self._context.metrics.left(self.shard_id)
        self.failures.forget()
        self.over = True
