"""From a batch to the checkpoint behind it: prepare, dead letters, rows, bisect, checkpoint - in this order.

Before each write it asks whether the lease is still ours. A delivery that fails is simply made again: what is written
already is gone from the batch's work. The checkpoint is the last thing, so it never passes anything undelivered.
Kept free of the engine's timing: any other driver of this pipeline delivers in the same way.
"""

from collections.abc import Callable
from typing import Protocol

from consumer.engine.tenure import Tenure
from consumer.errors import BatchRejected, RowsRejected
from consumer.leases import Pending
from consumer.pipeline.batching import Batch, Chunk, Letter, Spool
from consumer.records import DeadLetter, Reason, Row
from consumer.sinks import Repeats, Sink

Seal = Callable[[DeadLetter], Letter]


class Counts(Protocol):
    """Who is told what was delivered."""

    def written(self, rows: int, repeated: int) -> None: ...

    def dead_lettered(self, reason: Reason, letters: int) -> None: ...


class Delivery:
    """Delivers the batches of one tenure."""

    def __init__(self, tenure: Tenure, rows: Sink, dead_letters: Sink, seal: Seal, counts: Counts) -> None:
        self._tenure, self._rows, self._dead_letters = tenure, rows, dead_letters
        self._seal, self._counts = seal, counts

    def deliver(self, batch: Batch) -> None:
        """Write what is left of the batch, then move the checkpoint.

        Raises:
            Retryable: call again with the same batch.
            LeaseLost: drop the batch.
            OutputClosed: nobody reads on.
        """
        while batch.work:
            self._write(batch)
        self._tenure.checkpoint(batch.end)

    def _write(self, batch: Batch) -> None:
        chunk = batch.work[0]
        sink = self._dead_letters if chunk.dead else self._rows
        if sink.repeats is Repeats.BY_BATCH and self._tenure.lease.pending is None:
            self._tenure.prepare(Pending(batch.end, batch.name))
        self._tenure.still_mine()
        try:
            repeated = sink.write(chunk)
        except RowsRejected as error:
            if chunk.dead:
                raise
            batch.work[0] = self._rejected(chunk, dict(error.rejected))
            self._counts.written(len(chunk) - len(error.rejected), error.repeated)
        except BatchRejected as error:
            if chunk.dead:
                raise
            batch.work.popleft()
            batch.work.extendleft(
                reversed(chunk.halves()) if len(chunk) > 1 else [self._rejected(chunk, {0: str(error)})]
            )
        else:
            batch.work.popleft()
            if not chunk.dead:
                self._counts.written(len(chunk), repeated)

    def _rejected(self, chunk: Chunk, rejected: dict[int, str]) -> Chunk:
        """The dead letters of the rows that the sink will never take."""
        letters = Spool()
        for index, row in enumerate(chunk):
            if index in rejected and isinstance(row, Row):
                letter = self._seal(DeadLetter(Reason.SINK_REJECTED, rejected[index], row.place, row.data))
                letters.append(letter, len(letter.line))
        self._counts.dead_lettered(Reason.SINK_REJECTED, len(letters))
        return Chunk(f"{chunk.name}-rejected", letters, 0, len(letters), dead=True)
