"""Let halted shards read on: with the same record, or after it."""

from collections.abc import Collection, Iterator, Sequence

from consumer.checkpoints.patience import patiently
from consumer.errors import ConfigurationError
from consumer.leases import EditableLeaseTable, Lease


class Halts:
    """The halted shards among the rows of an application. `skip`: read on after the record that halted each."""

    def __init__(self, rows: Sequence[Lease], shard_ids: Collection[str], skip: bool) -> None:
        """Choose the halted shards of `shard_ids`, or all halted ones if there are none.

        Raises:
            ConfigurationError: a named shard is not halted.
        """
        halted = {row.shard_id: row for row in rows if row.halted is not None}
        for shard_id in shard_ids:
            if shard_id not in halted:
                raise ConfigurationError(f"--shard {shard_id}: it is not halted: see `checkpoints show`")
        self._rows = [row for name, row in sorted(halted.items()) if not shard_ids or name in shard_ids]
        self._skip = skip

    @property
    def empty(self) -> bool:
        """Return whether no shard is halted."""
        return not self._rows

    def lines(self) -> Iterator[str]:
        """Yield the plan: one line per shard."""
        if self.empty:
            yield "no shard is halted"
        for row in self._rows:
            if row.halted is not None:
                after = "make it a dead letter, and read on after it" if self._skip else "decode it again"
                yield f"{row.shard_id}: halted by {row.halted.reason} at {row.halted.sequence}: {after}"

    def carry_out(self, table: EditableLeaseTable) -> None:
        """Store the decision in each row. The owner acts on it at its next renewal; no worker need be stopped.

        Raises:
            ConfigurationError: a row has changed meanwhile, or the table fails.
        """
        for row in self._rows:
            answer = row.halted._replace(skip=True) if self._skip and row.halted is not None else None
            if not patiently(lambda row=row, answer=answer: table.answer_halt(row, answer)):  # type: ignore[misc]
                raise ConfigurationError(f"{row.shard_id}: its halt has changed meanwhile: run the command again")
