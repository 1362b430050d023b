"""Two live processes under one worker id would each take the other's leases for its own: the later one gives way."""

from collections.abc import Sequence

from consumer.errors import ConfigurationError
from consumer.leases import Lease, WorkerIdentity


class DuplicateWorker:
    """Watches the rows that name this worker. Those of a former life of it do not move; those of a namesake do."""

    def __init__(self, me: WorkerIdentity, renewal_interval: float) -> None:
        self._me, self._renewal_interval = me, renewal_interval
        self._counters: dict[str, int] = {}
        self._waited = False
        self.settled_in = False

    def watch(self, rows: Sequence[Lease]) -> None:
        """Look at a scan.

        Raises:
            ConfigurationError: another live process has our worker id, and was there first.
        """
        named = {row.shard_id: row for row in rows if row.held_by_duplicate(self._me)}
        moved = [row for name, row in named.items() if self._counters.get(name, row.counter) != row.counter]
        self._counters = {name: row.counter for name, row in named.items()}
        starts = [row.token.start for row in moved if row.token is not None]
        if starts and (not self.settled_in or self._me.start > min(starts)):
            raise ConfigurationError(
                f"another live worker has the id {self._me.worker_id!r}: give each its own --worker-id,"
                " or stop the other one"
            )

    def settle_in(self, rows: Sequence[Lease]) -> float:
        """Seconds to wait before rows that name us may be taken back: one and a half renewals, once."""
        if not self._waited and any(row.owner == self._me.worker_id and not row.ended for row in rows):
            self._waited = True
            return 1.5 * self._renewal_interval
        self.settled_in = True
        return 0.0
