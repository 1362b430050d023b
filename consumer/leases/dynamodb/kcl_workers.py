"""Find the live workers of a KCL 3.x fleet: those whose metrics row changes.

A worker writes its metrics row every 30 s, and the leader assigns leases to workers whose row is younger than 60 s.
KCL 3.5 stores these rows in the lease table, 3.0 to 3.4 in a separate table. Their times come from other hosts' clocks,
so only the moment at which this process saw a row *change* counts (docs/guarantees.md#liveness-by-observation).
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from consumer.leases import Lease
from consumer.leases.dynamodb.item import KEY, Item

FRESH = 60.0  # seconds; KCL considers a worker alive for so long after the last change of its row


class KclWorkers:
    """The metrics rows as this process has seen them. `clock` returns monotonic seconds."""

    def __init__(self, client: Any, table: str, clock: Callable[[], float]) -> None:
        self._client, self._table, self._clock = client, f"{table}-WorkerMetricStats", clock
        self._seen: dict[str, tuple[str, float | None]] = {}
        self._asked = float("-inf")

    def observe(self, items: Iterable[Item], leases: Sequence[Lease]) -> None:
        """Note the rows of a scan. While a KCL holds leases, also scan the separate metrics table once a minute."""
        now = self._clock()
        self._take_in((item for item in items if _string(item, "entityType") == "WORKER_METRIC_STATS"), KEY, now)
        if now - self._asked >= FRESH and any(row.owner is not None and not row.ours for row in leases):
            self._asked = now
            self._take_in(self._others(), "wid", now)

    def alive(self) -> Collection[str]:
        """Return the ids of the workers whose row has changed within `FRESH` seconds."""
        now = self._clock()
        return {name for name, (_, moved) in self._seen.items() if moved is not None and now - moved <= FRESH}

    def _others(self) -> Iterable[Item]:
        """Return the rows of KCL 3.0 to 3.4, or nothing on any error: leases are then not assigned to its workers."""
        try:
            items: Sequence[Item] = self._client.scan(TableName=self._table)["Items"]
        except Exception:
            return ()
        return items

    def _take_in(self, items: Iterable[Item], key: str, now: float) -> None:
        """Note which rows have changed. Seeing a row once proves nothing: KCL keeps a dead worker's row for a day."""
        for item in items:
            worker_id, updated = _string(item, key), item.get("lut", {}).get("N")
            if worker_id is not None and updated is not None:
                before, moved = self._seen.get(worker_id, (updated, None))
                self._seen[worker_id] = (updated, now if updated != before else moved)


def _string(item: Item, name: str) -> str | None:
    value = item.get(name, {}).get("S")
    return None if value is None else str(value)
