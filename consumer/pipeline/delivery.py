"""From a batch to the checkpoint behind it: prepare, dead letters, rows, bisect, checkpoint - in this order.

Before each write it asks whether the lease is still ours. A delivery that fails is simply made again: what is written
already is gone from the batch's work. The checkpoint is the last thing, so it never passes anything undelivered.
Kept free of the engine's timing: any other driver of this pipeline delivers in the same way.
"""

from collections.abc import Iterable
from typing import Protocol

from consumer.errors import BatchRejected, RowsRejected
from consumer.leases import Pending
from consumer.pipeline.batching import Batch, Chunk, Tally
from consumer.pipeline.intake import EncodeDeadLetter
from consumer.pipeline.spool import Spool
from consumer.records import DeadLetter, Position, Reason, Row
from consumer.sinks import Deduplication, Sink

# Dead letters of rejected rows in memory, bytes; more lie on disk.
REJECTED_MEMORY = 8 * 1024 * 1024


class Checkpointer(Protocol):
    """What a delivery stands behind: whoever may say that the shard is ours, and keeps its checkpoint.

    A lease's `HeldLease` in the worker; the daemon's checkpointer under KCL; the answer to the invocation in Lambda.
    """

    @property
    def pending(self) -> Pending | None:
        """The prepared batch that is not yet checkpointed."""
        ...

    def ensure_held(self) -> None:
        """Return if something may be delivered at this instant; else raise `LeaseLost` or a `Retryable`."""
        ...

    def prepare(self, pending: Pending, /) -> None:
        """Keep the end and the name of the batch that is about to be written, where there is a place for them."""
        ...

    def checkpoint(self, position: Position, /) -> None:
        """Everything up to `position` is delivered."""
        ...


class Counts(Protocol):
    """Who is told what was delivered."""

    def read(self, fetched: int, user_records: int, out_of_range: int, skipped: Iterable[str]) -> None: ...

    def written(self, rows: int, repeated: int) -> None: ...

    def dead_lettered(self, reason: Reason, letters: int) -> None: ...


class Delivery:
    """Delivers the batches of one shard."""

    def __init__(
        self,
        checkpointer: Checkpointer,
        rows: Sink,
        dead_letters: Sink,
        encode_dead_letter: EncodeDeadLetter,
        counts: Counts,
        version: str = "",
    ) -> None:
        self._checkpointer, self._rows, self._dead_letters = checkpointer, rows, dead_letters
        self._encode_dead_letter, self._counts, self._version = encode_dead_letter, counts, version

    def resume(self, batch: Batch) -> Batch:
        """Return the batch with the names under which an earlier try may have written it; call it before `deliver`.

        An earlier try by another decoder may have made rows of what are dead letters now, or the other way round. Its
        rows are written last, so with them the batch is complete. Without them all is written, under new names: a file
        of the earlier try must not pass for what this decoder has made.

        Raises:
            Retryable: call again with the same batch.
            LeaseLost: drop the batch.
        """
        pending = self._checkpointer.pending
        if pending is not None and pending.version == self._version:
            batch.rename(pending.name)
        elif pending is not None and self._rows.repeats is Deduplication.BY_BATCH and self._rows.holds(pending.name):
            rows = sum(len(chunk) for chunk in batch.work if not chunk.dead)
            self._counts.written(rows, repeated=rows)
            batch.work.clear()
        elif pending is not None:
            batch.rename(f"{batch.name}.{self._version}")
            self._checkpointer.prepare(Pending(batch.end, batch.name, self._version))
        return batch

    def deliver(self, batch: Batch) -> None:
        """Write what is left of the batch, then move the checkpoint.

        Raises:
            Retryable: call again with the same batch.
            LeaseLost: drop the batch.
            OutputClosed: nobody reads on.
        """
        while batch.work:
            self._write(batch)
        self._checkpointer.checkpoint(batch.end)
        self._count(batch.tally)

    def _count(self, tally: Tally) -> None:
        """Count what the batch held, which no retry will decode or write again."""
        self._counts.read(tally.fetched, tally.user_records, tally.out_of_range, tally.skipped.elements())
        for reason, letters in tally.dead_letters.items():
            self._counts.dead_lettered(reason, letters)

    def _write(self, batch: Batch) -> None:
        chunk = batch.work[0]
        sink = self._dead_letters if chunk.dead else self._rows
        if sink.repeats is Deduplication.BY_BATCH and self._checkpointer.pending is None:
            self._checkpointer.prepare(Pending(batch.end, batch.name, self._version))
        self._checkpointer.ensure_held()
        try:
            repeated = sink.write(chunk)
        except RowsRejected as error:
            if chunk.dead:
                raise
            batch.work[0] = self._rejected(batch, chunk, dict(error.rejected))
            self._counts.written(len(chunk) - len(error.rejected), error.repeated)
        except BatchRejected as error:
            if chunk.dead:
                raise
            batch.work.popleft()
            batch.work.extendleft(
                reversed(chunk.halves()) if len(chunk) > 1 else [self._rejected(batch, chunk, {0: str(error)})]
            )
        else:
            batch.work.popleft()
            if not chunk.dead:
                self._counts.written(len(chunk), repeated)

    def _rejected(self, batch: Batch, chunk: Chunk, rejected: dict[int, str]) -> Chunk:
        """The dead letters of the rows that the sink will never take."""
        letters = Spool(REJECTED_MEMORY)
        for index, row in enumerate(chunk):
            if index in rejected and isinstance(row, Row):
                letter = self._encode_dead_letter(
                    DeadLetter(Reason.SINK_REJECTED, rejected[index], row.location, row.data)
                )
                letters.append(letter, len(letter.line))
        batch.tally.dead_letters[Reason.SINK_REJECTED] += len(letters)
        return Chunk(f"{chunk.name}-rejected", letters, 0, len(letters), dead=True)
