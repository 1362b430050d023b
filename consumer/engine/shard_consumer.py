"""One leased shard: fetch, decode, buffer, deliver - a state machine that does one of these a step.

One batch is in flight at a time, so the watermark is the last record of the batch and back-pressure is simply not
fetching. It drops what it has not delivered whenever the lease may be somebody else's; the checkpoint says where the
next owner goes on.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

from consumer.engine.backoff import Backoff
from consumer.engine.delivery import Delivery
from consumer.engine.intake import Intake, Processed
from consumer.engine.surroundings import Surroundings
from consumer.engine.tenure import Tenure
from consumer.errors import (
    IteratorExpired,
    LeaseLost,
    LeaseStale,
    OutputClosed,
    Retryable,
    ShardGone,
    StreamUnavailable,
    Throttled,
    where,
)
from consumer.leases import Heir, Lease
from consumer.pipeline.batching import Batch, Buffer
from consumer.records import SHARD_END, Fetched, Position, Record, Shard
from consumer.telemetry.metrics import LeaseEvent

# AWS: five GetRecords a second and shard, shared by all who read it.
# https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html
LEAST_INTERVAL = 0.2
# AWS: one answer holds at most 10 MiB.
LARGEST_ANSWER = 10 * 1024 * 1024
FIRST_ESTIMATE = 1024 * 1024
# While an answer is read, each byte of data is there as JSON in base64, in pieces and put together, and decoded.
COPIES_IN_FLIGHT = 4
# What a prepared batch may hold in memory before it goes to disk; its end is fixed, so no limit can cut it.
REPLAY_MEMORY = 8 * 1024 * 1024
WAIT_FOR_BUDGET = 0.1


Register = Callable[[Lease, Sequence[Shard]], tuple[str, ...]]


class ShardConsumer:
    """Reads one shard under one tenure until it ends, is handed over, or the lease is lost."""

    def __init__(self, tenure: Tenure, world: Surroundings, register: Register) -> None:
        lease = tenure.lease
        self.tenure, self._world, self._register = tenure, world, register
        self.shard_id = lease.shard_id
        self.over = False
        self._process = world.processor(Shard(lease.shard_id, lease.parents, lease.hash_range))
        self._intake = Intake(world.seal, world.metrics)
        self._delivery = Delivery(tenure, world.rows, world.dead_letters, world.seal, world.metrics)
        self._backoff = Backoff(world.pace.first_backoff, world.pace.most_backoff, world.rng)
        # Apart from the other: after a defect the shard is read again without trouble up to the same record.
        self._after_defects = Backoff(world.pace.first_backoff, world.pace.most_backoff, world.rng)
        self._log = world.log.bind(shard=self.shard_id)
        self._leaving = False
        self._abandoning = False
        self._heir: Heir | None = None
        self._estimate = FIRST_ESTIMATE
        self._fetched_at = float("-inf")
        self._reading, self._in_read = threading.Lock(), False
        world.metrics.held(self.shard_id)
        self._empty()
        self._restart()

    def _restart(self) -> None:
        """Forget everything since the checkpoint."""
        self._drop()
        self._iterator: str | None = None
        self._ended = False
        self._children: Sequence[Shard] = ()
        self._after = self.tenure.lease.start
        self._fetched: int | None = None  # the last sequence number fetched
        self._read_to: datetime | None = None
        self._at_tip = False

    def _drop(self) -> None:
        self._backlog: deque[Record] = deque()
        self._batch: Batch | None = None
        self._buffer.close()
        self._empty()
        self._world.budget.settle(self.shard_id, 0)

    def _empty(self) -> None:
        pending = self.tenure.lease.pending
        self._buffer = Buffer(self.shard_id, self._world.pace.limits, REPLAY_MEMORY if pending else None)

    # What others ask of it -------------------------------------------------------------------------------------------

    def hand_over(self, heir: Heir | None) -> None:
        """Deliver what is buffered, then hand the lease to `heir`, or release it."""
        self._heir = heir
        self._leaving = True

    def abandon(self) -> None:
        """Release the lease without delivering any more."""
        self._abandoning = True
        self.hand_over(None)

    def let_go(self) -> None:
        """Give the lease up although a read is under way: nothing is being written, so nothing will be repeated.

        Raises:
            Retryable: not now; try again.
        """
        with self._reading:
            if self._in_read and not self.over:
                self._hand_on()
                self.over = True

    # The state machine -----------------------------------------------------------------------------------------------

    def step(self, now: float) -> float | None:
        """Do the next piece of work; never raises but for `OutputClosed`, which is nobody's fault and ends the run."""
        try:
            delay: float | None = self._advance(now)
        except LeaseLost:
            if not self.over:
                self._log.warning("lease.lost")
                self._world.metrics.leased(LeaseEvent.LOST)
            self._finish()
            delay = None
        except OutputClosed:
            self.abandon()
            raise
        except IteratorExpired:
            self._log.info("iterator.expired")
            self._iterator = None
            again = self._backoff.failures > 0
            wait = self._backoff.next()
            delay = wait if again else 0.0
        except Retryable as error:
            delay = self._retry_in(error)
        except Exception as error:
            # One bad shard never stops the others: it halts, keeps its lease, and is tried again from the checkpoint.
            delay = self._after_defects.next()
            self._log.error("shard.halted", error=type(error).__name__, where=where(error), retry_in=round(delay, 1))
            self._restart()
        return delay

    def _advance(self, now: float) -> float | None:
        if self._leaving and (self._abandoning or self._replaying_short()):
            self._drop()
        self.tenure.still_mine()
        if self._batch is not None or self._due(now):
            self._deliver()
        elif self._leaving:
            self._leave()
            return None
        elif self._backlog:
            self._decode(now)
        elif self._ended:
            self._end_shard()
            return None
        else:
            return self._fetch(now)
        return 0.0

    def _due(self, now: float) -> bool:
        """Is it time to deliver what is buffered?"""
        if self._buffer.empty or self.tenure.lease.pending is not None:
            return self._complete()
        return (
            self._complete()
            or self._buffer.ripe_in(now) <= 0
            or self._leaving
            or self._world.budget.squeezes(self.shard_id)
            or (not self._backlog and (self._ended or (self._world.pace.eager and self._at_tip)))
        )

    def _complete(self) -> bool:
        """Must the batch end here? One that was prepared ends exactly where the last try would have ended."""
        pending = self.tenure.lease.pending
        if pending is None:
            return self._buffer.full()
        return self._buffer.last is not None and pending.end <= self._buffer.last

    def _replaying_short(self) -> bool:
        """Is a prepared batch not complete yet? It can't be delivered in part."""
        pending = self.tenure.lease.pending
        if pending is None or self._batch is not None:
            return False
        return self._buffer.last is None or self._buffer.last < pending.end

    def _deliver(self) -> None:
        self._batch = self._batch or self._buffer.batch()
        self._delivery.deliver(self._batch)
        self._after, self._batch = self._batch.end, None
        self._backoff.reset()
        self._after_defects.reset()
        self._world.metrics.progressed(self.shard_id)
        self._buffer.close()
        self._empty()
        self._settle()

    def _settle(self) -> None:
        held = self._buffer.size + sum(len(record.data) for record in self._backlog)
        self._world.budget.settle(self.shard_id, held)
        if self._buffer.empty and not self._backlog and self._read_to is not None:
            self.tenure.read_to = self._read_to

    # Reading ---------------------------------------------------------------------------------------------------------

    def _fetch(self, now: float) -> float:
        wait = self._fetched_at + LEAST_INTERVAL - now
        if wait > 0:
            return wait
        if self.tenure.lease.pending is None and not self._reserve():
            return WAIT_FOR_BUDGET
        self._fetched_at = now
        try:
            asked, fetched = self._read()
        except ShardGone:
            return self._gone()
        finally:
            self._settle()  # a read that fails holds nothing; it would reserve more with each try
        self._backoff.reset()
        self._iterator, self._ended = fetched.next_iterator, fetched.next_iterator is None
        self._children = fetched.children
        fresh = [record for record in fetched.records if self._fetched is None or record.sequence > self._fetched]
        self._backlog.extend(fresh)
        if fresh:
            self._fetched = fresh[-1].sequence
            self._estimate = min(LARGEST_ANSWER, max(fetched.size, 1))
            self.tenure.throughput.add(fetched.size)
        self._at_tip = fetched.millis_behind == 0
        self._read_to = asked - timedelta(milliseconds=fetched.millis_behind)
        self._world.metrics.behind(self.shard_id, fetched.millis_behind / 1000)
        self._settle()
        if self._backlog or self._ended or not self._at_tip:
            return 0.0
        return max(0.0, min(self._world.pace.poll_interval, self._buffer.ripe_in(now)))

    def _reserve(self) -> bool:
        return self._world.budget.reserve(self.shard_id, COPIES_IN_FLIGHT * self._estimate)

    def _read(self) -> tuple[datetime, Fetched]:
        """The next answer, and what time it was when it was asked for."""
        self._in_read = True
        try:
            if self._iterator is None:
                self._iterator = self._world.stream.open(self.shard_id, self._open_at())
            return self._world.server_time(), self._world.stream.fetch(self._iterator)
        finally:
            with self._reading:
                self._in_read = False

    def _open_at(self) -> Position:
        return self._after if self._fetched is None else Position.of(self._fetched)

    def _decode(self, now: float) -> None:
        """Decode fetched records until the batch is full."""
        self._intake.take(self._buffer, self._undecoded(), now, self._after)
        self._settle()

    def _undecoded(self) -> Iterator[tuple[Record, Processed]]:
        after, backlog = self._after, self._backlog
        # Nothing is prepared while records are decoded, so what ends the batch is asked once and not for each record.
        complete = self._buffer.full if self.tenure.lease.pending is None else self._complete
        while backlog and not complete():
            record = backlog.popleft()
            if record.sequence >= after.sequence:  # which is 0 for a position that is no sequence number
                yield record, self._process(record, after)

    # Endings ---------------------------------------------------------------------------------------------------------

    def _end_shard(self) -> None:
        """Everything is delivered: the children get their rows, then this one says SHARD_END and stays."""
        children = self._register(self.tenure.lease, self._children)
        self.tenure.checkpoint(SHARD_END, children)
        self._log.info("shard.ended", children=list(children))
        self._world.metrics.leased(LeaseEvent.FINISHED)
        self._finish()

    def _leave(self) -> None:
        self._hand_on()
        self._finish()

    def _hand_on(self) -> None:
        self.tenure.hand_on(self._heir)
        if self._heir is None:
            event = LeaseEvent.RELEASED
        else:
            event = LeaseEvent.OFFERED if self._heir.ours else LeaseEvent.ASSIGNED
        self._log.info(f"lease.{event.value}", to=self._heir.worker_id if self._heir else None)
        self._world.metrics.leased(event)

    def _finish(self) -> None:
        self._drop()
        self._world.metrics.left(self.shard_id)
        self.over = True

    def _gone(self) -> float:
        """The stream does not know the shard: the end of it only if the stream is the one that the rows belong to.

        Raises:
            StreamUnavailable: it is another stream of that name, or it is not active.
        """
        summary = self._world.stream.summary()
        listed = any(shard.shard_id == self.shard_id for shard in self._world.stream.shards())
        made = self.tenure.lease.stream_created_at
        if listed or not summary.active or (made is not None and made != summary.created_at):
            raise StreamUnavailable("the stream does not know a shard that it should have")
        self._log.error("shard.trimmed", lost="all records between the checkpoint and the end of the retention")
        self._ended = True
        return 0.0

    # Trouble ---------------------------------------------------------------------------------------------------------

    def _retry_in(self, error: Retryable) -> float:
        """Seconds to wait. What is buffered stays, unless the worker is leaving: then one try has to do."""
        if self._leaving and not isinstance(error, LeaseStale) and error.retry_after is None:
            self._log.warning("batch.dropped", error=str(error), note="delivered again by the next owner")
            self._abandoning = True
            return 0.0
        if isinstance(error, Throttled):
            self._world.metrics.throttle()
        delay = error.retry_after or self._backoff.next()
        if error.retry_after is None and not isinstance(error, LeaseStale):
            level = self._log.info if isinstance(error, Throttled) else self._log.warning
            level("shard.waiting", error=str(error), retry_in=round(delay, 2))
        return delay
