"""Tell which dead letters no worker can write any more: those that their shard's checkpoint has passed."""

from collections.abc import Iterable

from consumer.dead_letters import StoredDeadLetter
from consumer.leases import Lease
from consumer.records import Position


class Checkpoints:
    """The checkpoints of one application on one stream, as of one scan of its lease table.

    A worker writes only under a lease. So a shard without a row counts as passed: its row was deleted after its end.
    """

    def __init__(self, leases: Iterable[Lease], unreadable: Iterable[str] = ()) -> None:
        self._by_shard = {lease.shard_id: lease.checkpoint for lease in leases}
        self._unreadable = frozenset(unreadable)

    def __bool__(self) -> bool:
        """Return whether there is any lease. Without one, the application or the table is probably the wrong one."""
        return bool(self._by_shard or self._unreadable)

    def passed(self, letter: StoredDeadLetter) -> bool:
        """Return whether the record of a dead letter lies at or before the checkpoint of its shard."""
        if letter.shard_id in self._unreadable:
            return False
        checkpoint = self._by_shard.get(letter.shard_id)
        return checkpoint is None or checkpoint >= Position.of(letter.sequence, letter.sub_sequence_number)
