"""Which workers of a KCL 3.x fleet are alive: those whose metrics row moves.

A worker writes its row each 30 s, and the leader assigns leases to those whose row is younger than 60 s. KCL 3.5 keeps
the rows among the leases, 3.0 to 3.4 in a table of their own. Their times are of other hosts' clocks, so what counts is
that one *changes*, and when this observer saw it.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from consumer.leases import Lease
from consumer.leases.dynamodb.item import KEY, Item

FRESH = 60.0  # seconds for which KCL itself believes in a row


class KclWorkers:
    """What one observer has seen of the rows, on its own clock."""

    def __init__(self, client: Any, table: str, clock: Callable[[], float]) -> None:
        self._client, self._table, self._clock = client, f"{table}-WorkerMetricStats", clock
        self._seen: dict[str, tuple[str, float | None]] = {}
        self._asked = float("-inf")

    def observe(self, items: Iterable[Item], leases: Sequence[Lease]) -> None:
        """Take in a scan. The other table is asked once a minute, only while a stranger to us holds leases."""
        now = self._clock()
        self._take_in((item for item in items if _string(item, "entityType") == "WORKER_METRIC_STATS"), KEY, now)
        if now - self._asked >= FRESH and any(row.owner is not None and not _of_ours(row) for row in leases):
            self._asked = now
            self._take_in(self._others(), "wid", now)

    def alive(self) -> Collection[str]:
        """Those whose row has moved lately."""
        now = self._clock()
        return {name for name, (_, moved) in self._seen.items() if moved is not None and now - moved <= FRESH}

    def _others(self) -> Iterable[Item]:
        """The rows of 3.0 to 3.4. Without table, permission or answer there is nobody to assign to, and no harm."""
        try:
            items: Sequence[Item] = self._client.scan(TableName=self._table)["Items"]
        except Exception:
            return ()
        return items

    def _take_in(self, items: Iterable[Item], key: str, now: float) -> None:
        """At first sight a row says nothing: it stays for a day after its worker's death."""
        for item in items:
            worker_id, updated = _string(item, key), item.get("lut", {}).get("N")
            if worker_id is not None and updated is not None:
                before, moved = self._seen.get(worker_id, (updated, None))
                self._seen[worker_id] = (updated, now if updated != before else moved)


def _string(item: Item, name: str) -> str | None:
    value = item.get(name, {}).get("S")
    return None if value is None else str(value)


def _of_ours(row: Lease) -> bool:
    """Did one of ours write the row last?"""
    return row.token is not None and row.token.counter == row.counter
