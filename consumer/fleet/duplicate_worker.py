"""Detect a second live process with the same worker id. Each would take the other's leases as its own."""

from collections.abc import Sequence

from consumer.errors import ConfigurationError
from consumer.leases import Lease, WorkerIdentity


class DuplicateWorker:
    """Watch the rows that another process with our worker id holds.

    If their counters stand still, that process has ended, for example before a restart. If they move, it is alive, and
    the one that started later must end. `settled_in`: rows of an earlier process may be taken back. `settling`: seconds
    to wait before that.
    """

    def __init__(self, me: WorkerIdentity, settling: float) -> None:
        self._me, self._settling = me, settling
        self._counters: dict[str, int] = {}
        self._waited = False
        self.settled_in = False

    def watch(self, rows: Sequence[Lease]) -> None:
        """Compare a scan with the last one.

        Raises:
            ConfigurationError: another live process has our worker id, and started first.
        """
        duplicates = {row.shard_id: row for row in rows if row.held_by_duplicate(self._me)}
        moved = [row for name, row in duplicates.items() if self._counters.get(name, row.counter) != row.counter]
        self._counters = {name: row.counter for name, row in duplicates.items()}
        starts = [row.token.start for row in moved if row.token is not None]
        # While both have settled in, only the order of their random starts decides which one ends.
        if starts and (not self.settled_in or self._me.start > min(starts)):
            raise ConfigurationError(
                f"another live worker has the id {self._me.worker_id!r}: give each its own --worker-id,"
                " or stop the other one"
            )

    def settle_in(self, rows: Sequence[Lease]) -> float:
        """Return the seconds to wait before rows with our worker id may be taken back: `settling`, once, or 0."""
        if not self._waited and any(row.owner == self._me.worker_id and not row.ended for row in rows):
            self._waited = True
            return self._settling
        self.settled_in = True
        return 0.0
