"""From a batch to the checkpoint behind it: prepare, dead letters, rows, bisect, checkpoint - in this order.

Before each write it asks whether the lease is still ours. A delivery that fails is simply made again: what is written
already is gone from the batch's work. The checkpoint is the last thing, so it never passes anything undelivered.
Kept free of the engine's timing: any other driver of this pipeline delivers in the same way.
"""

from collections.abc import Iterable
from typing import Protocol

from consumer.decoding.dead_letter_limit import DeadLetterLimit
from consumer.errors import BatchRejected, RowsRejected
from consumer.leases import Pending
from consumer.pipeline.batching import Batch, Chunk, Rejected, Tally
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
        while batch.work or batch.rejected is not None:
            if batch.work:
                self._write(batch)
            else:
                self._reject_rest(batch)
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
        if chunk.dead:
            sink.write(chunk)
            batch.work.popleft()
        else:
            self._write_rows(batch, chunk)

    def _write_rows(self, batch: Batch, chunk: Chunk) -> None:
        try:
            repeated = self._rows.write(chunk)
        except RowsRejected as error:
            self._reject(batch, chunk, dict(error.rejected))
            self._counts.written(len(chunk) - len(error.rejected), error.repeated)
        except BatchRejected as error:
            if len(chunk) == 1:
                self._reject(batch, chunk, {0: str(error)})
            else:
                batch.work.popleft()
                batch.work.extendleft(reversed(chunk.halves()))
        else:
            batch.work.popleft()
            self._counts.written(len(chunk), repeated)

    def _reject(self, batch: Batch, chunk: Chunk, rejected: dict[int, str]) -> None:
        """Replace a chunk by the dead letters of its rejected rows.

        Each row of an array keeps the whole array, so the dead letters of one user record are limited.

        Raises:
            SpoolUnavailable: the batch is unchanged.
        """
        letters, current = Spool(REJECTED_MEMORY), batch.rejected and batch.rejected.copy()
        for index, row in enumerate(chunk):
            if index not in rejected or not isinstance(row, Row):
                continue
            user_record = row.location.sequence, row.location.sub_sequence
            if current is None or current.user_record != user_record:
                self._append(letters, current.limit.rest() if current else ())
                current = Rejected(user_record, DeadLetterLimit(row.data))
            dead_letter = DeadLetter(Reason.SINK_REJECTED, rejected[index], row.location, row.data)
            self._append(letters, current.limit.take(dead_letter))
        batch.work.popleft()
        batch.rejected = current
        self._put_first(batch, f"{chunk.name}-rejected", letters)

    def _reject_rest(self, batch: Batch) -> None:
        """Add the dead letter that stands for all rejected rows beyond the limit, if there are any."""
        letters = Spool(REJECTED_MEMORY)
        self._append(letters, batch.rejected.limit.rest() if batch.rejected else ())
        batch.rejected = None
        self._put_first(batch, f"{batch.name}-rejected-rest", letters)

    def _append(self, letters: Spool, dead_letters: Iterable[DeadLetter]) -> None:
        for dead_letter in dead_letters:
            encoded = self._encode_dead_letter(dead_letter)
            letters.append(encoded, len(encoded.line))

    def _put_first(self, batch: Batch, name: str, letters: Spool) -> None:
        batch.tally.dead_letters[Reason.SINK_REJECTED] += len(letters)
        if len(letters):
            batch.work.appendleft(Chunk(name, letters, 0, len(letters), dead=True))
