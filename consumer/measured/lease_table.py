"""A lease table that reports failed calls."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager

from consumer.errors import LeaseTableUnavailable
from consumer.leases import Change, Lease, LeaseTable, Written


class MeasuredLeaseTable:
    """Delegate to `table`. Call `tell` with the name of each call that failed."""

    def __init__(self, table: LeaseTable, tell: Callable[[str], None]) -> None:
        self._table, self._tell = table, tell
        self.check, self.close = table.check, table.close
        self.assignees, self.unreadable = table.assignees, table.unreadable

    def scan(self) -> Sequence[Lease]:
        with self._telling("scan"):
            return self._table.scan()

    def read(self, shard_ids: Collection[str]) -> Sequence[Lease]:
        with self._telling("read"):
            return self._table.read(shard_ids)

    def create(self, lease: Lease) -> None:
        with self._telling("create"):
            self._table.create(lease)

    def write(self, changes: Sequence[Change]) -> Sequence[Written]:
        with self._telling("write"):
            return self._table.write(changes)

    def want(self, lease: Lease, worker_id: str) -> None:
        with self._telling("want"):
            self._table.want(lease, worker_id)

    def delete(self, lease: Lease) -> None:
        with self._telling("delete"):
            self._table.delete(lease)

    @contextmanager
    def _telling(self, call: str) -> Iterator[None]:
        try:
            yield
        except LeaseTableUnavailable:
            self._tell(call)
            raise
