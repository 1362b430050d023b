"""Log the damaged rows of the lease table. Their shards are not read until an operator repairs the rows."""

from typing import Any

from consumer.leases import LeaseTable


class UnreadableRows:
    """The damaged rows that the last scan found. `log_again`: seconds until the same rows are logged again."""

    def __init__(self, table: LeaseTable, log: Any, log_again: float) -> None:
        self._table, self._log, self._log_again = table, log, log_again
        self._logged: dict[str, str] = {}
        self._logged_at = float("-inf")

    def scanned(self, now: float) -> None:
        """Log the damaged rows of a scan, at once if they changed."""
        found = dict(self._table.unreadable())
        if found == self._logged and now - self._logged_at < self._log_again:
            return
        self._logged, self._logged_at = found, now
        for shard_id, why in found.items():
            self._log.error("lease.unreadable", shard=shard_id, error=why)
