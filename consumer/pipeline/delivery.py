"""Deliver a batch: prepare, write dead letters, write rows, then checkpoint.

The checkpoint comes last, so it never passes an undelivered record. Before each write the lease is checked. To retry,
deliver the same batch again: written parts were removed from its work.
"""

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from typing import Protocol

from consumer.decoding.dead_letter_limit import DeadLetterLimit
from consumer.decoding.locations import locations_of
from consumer.errors import BatchRejected, RowsRejected
from consumer.leases import Pending
from consumer.pipeline.batching import Batch, EncodeDeadLetter, Part, Rejected, Tally
from consumer.pipeline.rejections import Judge
from consumer.pipeline.spool import Spool
from consumer.records import Block, DeadLetter, EventLocation, Position, Reason
from consumer.runtime.clock import Clock, boottime
from consumer.sinks import Deduplication, Sink, suffix_of

# Bytes of dead letters of rejected rows in memory. More go to disk.
REJECTED_MEMORY = 8 * 1024 * 1024


class Checkpointer(Protocol):
    """Guard the writes of one shard, and store its checkpoint.

    The worker uses a `HeldLease`, the daemon's child a `DaemonCheckpointer`, and Lambda the invocation.
    """

    @property
    def pending(self) -> Pending | None:
        """Return the prepared batch that is not checkpointed yet, or None."""
        ...

    def ensure_held(self) -> None:
        """Check that the shard may be written now.

        Raises:
            LeaseLost: another worker has the lease.
            Retryable: it is not known; ask again later.
        """
        ...

    def prepare(self, pending: Pending, /) -> None:
        """Store the end and the name of the batch that will be written, if this checkpointer can."""
        ...

    def checkpoint(self, position: Position, /) -> None:
        """Store that everything up to `position` is delivered."""
        ...


class Counts(Protocol):
    """Count delivered records, rows and dead letters."""

    def records_delivered(self, fetched: int, user_records: int, out_of_range: int, skipped: Iterable[str]) -> None: ...

    def written(self, rows: int, repeated: int) -> None: ...

    def dead_lettered(self, reason: Reason, letters: int) -> None: ...

    def dropped(self, reason: Reason, events: int) -> None: ...


class Delivery:
    """Deliver the batches of one shard.

    `since`: when the delivery that is under way began, by `clock`; None while there is none.
    """

    def __init__(
        self,
        checkpointer: Checkpointer,
        rows: Sink,
        dead_letters: Sink,
        encode_dead_letter: EncodeDeadLetter,
        counts: Counts,
        version: str = "",
        clock: Clock = boottime,
        judge: Judge | None = None,
    ) -> None:
        self._judge = judge or Judge()
        self._checkpointer, self._rows, self._dead_letters = checkpointer, rows, dead_letters
        self._encode_dead_letter, self._counts = encode_dead_letter, counts
        self._decoder, self._suffix = version, suffix_of(rows)
        self._version = f"{version}{self._suffix}"
        self._clock = clock
        self.since: float | None = None

    def resume(self, batch: Batch) -> Batch:
        """Return the batch under the name of its pending checkpoint, if there is one. Call this before `deliver`.

        If another version of the decoder, or another format, prepared the batch, its rows may differ from ours. If the
        sink holds that batch, it is complete, because rows are written last.

        Raises:
            Retryable: call again with the same batch.
            LeaseLost: drop the batch.
        """
        pending = self._checkpointer.pending
        if pending is None:
            return batch
        if pending.version == self._version:
            batch.rename(pending.name)
        elif self._rows.repeats is not Deduplication.BY_BATCH or self._rows.rejects_rows:
            self._resume_renamed(batch, pending)
        elif not self._is_held(batch, pending):
            self._resume_prepared(batch, pending)
        return batch

    def _resume_renamed(self, batch: Batch, pending: Pending) -> None:
        """Write all of the batch under a new name, because parts of the old name may hold the other version's rows."""
        if self._rows.repeats is Deduplication.BY_BATCH and self._is_held(batch, pending):
            return
        batch.rename(f"{batch.name}.{self._version}")
        self._checkpointer.prepare(Pending(batch.end, batch.name, self._version))

    def _is_held(self, batch: Batch, pending: Pending) -> bool:
        """Return whether the sink has the prepared batch. If so, nothing of it is left to write."""
        if held := self._rows.holds(pending.name):
            rows = sum(len(part) for part in batch.work if not part.dead)
            self._counts.written(rows, repeated=rows)
            batch.work.clear()
        return held

    def _resume_prepared(self, batch: Batch, pending: Pending) -> None:
        """Keep the prepared name for rows of a sink that writes each batch whole.

        The other version may still write them, such as a worker that was paused. Under one name only one of both
        succeeds. Its dead letters may be written already, and differ from ours, so ours get a new name.
        """
        decoder, _, form = pending.version.partition(".")
        dead = pending.name if decoder == self._decoder else f"{batch.name}.{self._decoder}"
        rows = f"{pending.name}.{form}" if form and self._suffix else pending.name
        batch.rename(pending.name)
        batch.work = deque(replace(part, name=dead if part.dead else rows) for part in batch.work)

    def deliver(self, batch: Batch) -> None:
        """Write the remaining parts of the batch, then move the checkpoint.

        Raises:
            Retryable: call again with the same batch.
            LeaseLost: drop the batch.
            OutputClosed: the reader of the output has ended.
        """
        self.since = self._clock()
        try:
            self._deliver(batch)
        finally:
            self.since = None

    def _deliver(self, batch: Batch) -> None:
        while batch.work or batch.rejected is not None:
            if batch.work:
                self._write(batch)
            else:
                self._reject_rest(batch)
        self._checkpointer.checkpoint(batch.end)
        self._count(batch.tally)

    def _count(self, tally: Tally) -> None:
        """Report the counts of a batch. Its checkpoint has moved, so no retry counts it again."""
        self._counts.records_delivered(tally.fetched, tally.user_records, tally.out_of_range, tally.skipped.elements())
        for reason, letters in tally.dead_letters.items():
            self._counts.dead_lettered(reason, letters)
        for reason, events in tally.dropped.items():
            self._counts.dropped(reason, events)

    def _write(self, batch: Batch) -> None:
        part = batch.work[0]
        sink = self._dead_letters if part.dead else self._rows
        if sink.repeats is Deduplication.BY_BATCH and self._checkpointer.pending is None:
            self._checkpointer.prepare(Pending(batch.end, batch.name, self._version))
        self._checkpointer.ensure_held()
        if part.dead:
            sink.write(part)
            batch.work.popleft()
        else:
            self._write_rows(batch, part)

    def _write_rows(self, batch: Batch, part: Part) -> None:
        try:
            repeated = self._rows.write(part)
        except RowsRejected as error:
            self._reject(batch, part, dict(error.rejected))
            self._counts.written(len(part) - len(error.rejected), error.repeated)
        except BatchRejected as error:
            if len(part) == 1:
                self._reject(batch, part, {0: str(error)})
            else:
                batch.work.popleft()
                batch.work.extendleft(reversed(part.halves()))
        else:
            batch.work.popleft()
            self._counts.written(len(part), repeated)

    def _reject(self, batch: Batch, part: Part, rejected: dict[int, str]) -> None:
        """Replace a part by the dead letters of its rejected rows.

        Each row of an array keeps the whole array, so the dead letters of one user record are limited.

        Raises:
            SpoolUnavailable, RecordHalts: the batch is unchanged.
        """
        letters, current = Spool(REJECTED_MEMORY), batch.rejected and batch.rejected.copy()
        dropped = 0
        for index, location in _locations(part, rejected):
            if self._judge.drops(Reason.SINK_REJECTED, location.sequence):
                dropped += 1
                continue
            data = part.data(index)
            user_record = location.sequence, location.sub_sequence
            if current is None or current.user_record != user_record:
                self._append(letters, current.limit.rest() if current else ())
                current = Rejected(user_record, DeadLetterLimit(data))
            dead_letter = DeadLetter(Reason.SINK_REJECTED, rejected[index], location, data)
            self._append(letters, current.limit.take(dead_letter))
        batch.work.popleft()
        batch.tally.dropped[Reason.SINK_REJECTED] += dropped
        batch.rejected = current
        self._put_first(batch, f"{part.name}-rejected", letters)

    def _reject_rest(self, batch: Batch) -> None:
        """Add the dead letter that stands for all rejected rows beyond the limit, if there are any."""
        letters = Spool(REJECTED_MEMORY)
        self._append(letters, batch.rejected.limit.rest() if batch.rejected else ())
        batch.rejected = None
        self._put_first(batch, f"{batch.name}-rejected-rest", letters)

    def _append(self, letters: Spool, dead_letters: Iterable[DeadLetter]) -> None:
        for dead_letter in dead_letters:
            line = self._encode_dead_letter(dead_letter)
            letters.append(Block(line, 1), len(line))

    def _put_first(self, batch: Batch, name: str, letters: Spool) -> None:
        batch.tally.dead_letters[Reason.SINK_REJECTED] += len(letters)
        if len(letters):
            batch.work.appendleft(Part(name, letters, 0, len(letters), dead=True))


def _locations(part: Part, indices: Collection[int]) -> Iterator[tuple[int, EventLocation]]:
    """Yield the index and the location of each row of a part that is in `indices`."""
    start = 0
    for block in part:
        wanted = [index for index in range(start, start + len(block)) if index in indices]
        if wanted:
            locations = locations_of(block)
            yield from ((index, locations[index - start]) for index in wanted)
        start += len(block)
