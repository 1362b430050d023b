"""A lease table that reports failed calls."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager

from consumer.errors import LeaseTableUnavailable
from consumer.leases import Change, Lease, LeaseTable, Written


class MeasuredLeaseTable:
    """Delegate to `table`. Call `report` with the name of each call that failed."""

    def __init__(self, table: LeaseTable, report: Callable[[str], None]) -> None:
        self._table, self._report = table, report
        self.check, self.close = table.check, table.close
        self.assignees, self.unreadable = table.assignees, table.unreadable

    def scan(self) -> Sequence[Lease]:
        with self._reporting("scan"):
            return self._table.scan()

    def read(self, shard_ids: Collection[str]) -> Sequence[Lease]:
        with self._reporting("read"):
            return self._table.read(shard_ids)

    def create(self, lease: Lease) -> None:
        with self._reporting("create"):
            self._table.create(lease)

    def write(self, changes: Sequence[Change]) -> Sequence[Written]:
        with self._reporting("write"):
            return self._table.write(changes)

    def want(self, lease: Lease, worker_id: str) -> None:
        with self._reporting("want"):
            self._table.want(lease, worker_id)

    def delete(self, lease: Lease) -> None:
        with self._reporting("delete"):
            self._table.delete(lease)

    @contextmanager
    def _reporting(self, call: str) -> Iterator[None]:
        try:
            yield
        except LeaseTableUnavailable:
            self._report(call)
            raise
