"""Assemble the batches of one shard from its fetched records, and decide when a batch ends."""

from collections import deque
from contextlib import suppress
from itertools import takewhile

from consumer.errors import SpoolUnavailable
from consumer.leases import Pending
from consumer.pipeline.batching import Batch
from consumer.pipeline.intake import fill
from consumer.pipeline.rejections import over
from consumer.records import Position, Record, Shard
from consumer.runtime.memory_budget import SHARE
from consumer.shard.context import ShardContext
from consumer.shard.halting import Halting
from consumer.shard.held_lease import HeldLease
from consumer.shard.reader import ShardReader
from consumer.sinks import payload_of

# Bytes that a prepared batch may hold in memory before it goes to disk. Its end is fixed, so no limit can cut it.
REPLAY_MEMORY = 8 * 1024 * 1024
# Larger records (bytes) reserve memory before they are decoded: `DECODING` bytes for each of theirs.
LARGE_RECORD, DECODING = 1024 * 1024, 4


class BatchAssembly:
    """The buffer of one shard, and its share of the memory budget.

    After a prepare, the next batch must end on the prepared record. It then ignores the limits
    (docs/guarantees.md#two-phase-checkpoints).
    """

    def __init__(self, held_lease: HeldLease, reader: ShardReader, context: ShardContext, halting: Halting) -> None:
        self._held_lease, self._reader, self._context, self._halting = held_lease, reader, context, halting
        self._shard_id, self._budget = held_lease.shard_id, context.budget
        self._decode = over(halting.judge, context.decoder(_shard(held_lease)))
        self._create_buffer()

    def _create_buffer(self) -> None:
        memory = REPLAY_MEMORY if self._pending else None
        self._buffer = self._context.pipeline.buffer(self._shard_id, memory)

    def clear(self) -> None:
        """Drop what is buffered."""
        self._buffer.close()
        self._create_buffer()

    @property
    def _pending(self) -> Pending | None:
        return self._held_lease.lease.pending

    @property
    def empty(self) -> bool:
        """Return whether nothing is buffered."""
        return self._buffer.empty

    def ripe_in(self, now: float) -> float:
        """Return the seconds until the buffer is old enough for a delivery; infinite while it is empty."""
        return self._buffer.ripe_in(now)

    def batch(self) -> Batch:
        """Return everything buffered as a batch. Add nothing until it is delivered or dropped."""
        return self._buffer.batch()

    def complete(self) -> bool:
        """Return whether the batch must end here."""
        if self._pending is None:
            return self._buffer.full()
        return self._buffer.last is not None and self._pending.end <= self._buffer.last

    def is_due(self, now: float, draining: bool, halted: bool = False) -> bool:
        """Return whether the buffer should be delivered now. `halted`: what follows must not be read."""
        if self._buffer.empty or self._pending is not None:
            return self.complete()
        return (
            halted
            or self.complete()
            or self._buffer.ripe_in(now) <= 0
            or self._budget.must_deliver(self._shard_id)
            or (not self._reader.backlog and self._is_due_without_backlog(draining))
        )

    def _is_due_without_backlog(self, draining: bool) -> bool:
        reader = self._reader
        at_end = reader.ended or (self._context.polling.eager and reader.tip.at_tip)
        return draining or at_end or self._budget.has_loan(self._shard_id)

    def cannot_complete(self) -> bool:
        """Return whether the stream has no more records of a prepared batch, which must not be delivered in part."""
        reader = self._reader
        exhausted = not reader.backlog and (reader.tip.at_tip or reader.ended)
        return self._pending is not None and exhausted and not self.complete()

    def decode(self, now: float) -> bool:
        """Decode fetched records until the batch is complete; return False if there was no memory for the first."""
        backlog = self._reader.backlog
        before = len(backlog)
        if self._pending is not None:
            self._fill_up_to(self._pending.end, backlog, now)
        elif self._halting.stop is not None:
            self._fill_up_to(Position.of(self._halting.stop - 1), backlog, now)
        else:
            self._fill(backlog, now)
        return len(backlog) < before

    def _fill(self, records: deque[Record], now: float) -> None:
        def must_stop() -> bool:
            size = len(records[0].data)
            return self.complete() or (size > LARGE_RECORD and not self._may_decode(size))

        fill(self._buffer, self._decode, records, now, self._reader.start, must_stop)

    def _fill_up_to(self, end: Position, backlog: deque[Record], now: float) -> None:
        """Decode up to the end of a prepared batch or to a halt, which no block may pass."""
        prepared = deque(takewhile(lambda record: Position.of(record.sequence) <= end, backlog))
        prepared = prepared or deque([backlog[0]])  # the stream no longer has the last record of the batch
        before = len(prepared)
        try:
            self._fill(prepared, now)
        finally:
            for _ in range(before - len(prepared)):
                backlog.popleft()

    def _may_decode(self, size: int) -> bool:
        """Reserve memory for a large record. A prepared batch may always continue, because it spills to disk."""
        return self._budget.reserve(self._shard_id, DECODING * size) or self._pending is not None

    def may_fetch(self) -> bool:
        """Reserve memory for the next response. A prepared batch may always continue, because it spills to disk."""
        return self._pending is not None or self._budget.reserve(self._shard_id, self._reader.need)

    @property
    def memory(self) -> int:
        """Return the bytes of decoded rows and dead letters in memory."""
        return self._buffer.size

    def may_write(self) -> bool:
        """Reserve memory for what the sink needs to write a batch that is on disk.

        For a batch in memory it is reserved already, because a shard that has to deliver must not wait for others.
        """
        return not self._payload or not self._spilled or self._budget.reserve(self._shard_id, self._payload)

    @property
    def _payload(self) -> int:
        """Return the bytes that the sink needs to write what is buffered."""
        return round(payload_of(self._context.pipeline.rows) * self._buffer.length)

    @property
    def _spilled(self) -> bool:
        return self._buffer.size < self._buffer.length

    def settle(self) -> None:
        """Tell the budget how much memory the shard really holds, with what the sink will need to write it."""
        payload = 0 if self._spilled else self._payload
        self._budget.settle(self._shard_id, self._buffer.size + payload + self._reader.size)

    def release_memory(self) -> None:
        """Free memory after a failed delivery if other shards need it: drop the backlog, and spill rows to disk."""
        lent = self._budget.has_loan(self._shard_id)
        if (lent or self._budget.must_deliver(self._shard_id)) and self._reader.backlog:
            self._reader.go_back_to(self._buffer.last)
        if lent and self._buffer.size > SHARE:
            with suppress(SpoolUnavailable):  # the rows stay in memory
                self._buffer.spill()


def _shard(held_lease: HeldLease) -> Shard:
    lease = held_lease.lease
    return Shard(lease.shard_id, lease.parents, lease.hash_range)
