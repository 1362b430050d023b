"""A lease table in memory, for one process and for simulations. Its rows end with the process."""

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, replace

from pydantic import BaseModel

from consumer.errors import ConfigurationError
from consumer.leases import Change, Lease, Scope, Written
from consumer.leases.halt import Halt
from consumer.urls import Url


class Options(BaseModel, extra="forbid"):
    """This table has no options."""


def connect(url: Url, options: Options, scope: Scope) -> "MemoryLeaseTable":
    """Return a new, empty table."""
    if url.path:
        raise ConfigurationError(f"{url.label} memory: takes no path; to keep leases in a file say sqlite:FILE")
    return MemoryLeaseTable()


class MemoryLeaseTable:
    """Rows in a dict. This is the reference implementation of the port."""

    def __init__(self) -> None:
        self._rows: dict[str, Lease] = {}
        self._lock = threading.Lock()

    def exists(self) -> bool:
        return True

    def check(self) -> None:
        """Do nothing: the table always works."""

    def scan(self) -> Sequence[Lease]:
        with self._lock:
            return list(self._rows.values())

    def read(self, shard_ids: Collection[str]) -> Sequence[Lease]:
        with self._lock:
            return [self._rows[shard_id] for shard_id in shard_ids if shard_id in self._rows]

    def unreadable(self) -> Mapping[str, str]:
        """Return nothing: no other program writes these rows."""
        return {}

    def assignees(self) -> Collection[str]:
        """Return nothing: no KCL reads this table."""
        return ()

    def create(self, lease: Lease) -> None:
        with self._lock:
            self._rows.setdefault(lease.shard_id, lease)

    def write(self, changes: Sequence[Change]) -> Sequence[Written]:
        with self._lock:
            return [self._swap(change) for change in changes]

    def rewrite(self, changes: Sequence[Change]) -> Sequence[Written]:
        with self._lock:
            return [self._swap(change, revive=True) for change in changes]

    def remove(self, lease: Lease) -> bool:
        with self._lock:
            row = self._rows.get(lease.shard_id)
            if row is not None and _seen(row) == _seen(lease):
                del self._rows[row.shard_id]
            return lease.shard_id not in self._rows

    def _swap(self, change: Change, revive: bool = False) -> Written:
        row, before = self._rows.get(change.before.shard_id), change.before
        if row is None or _seen(row) != _seen(before) or (row.ended and not (change.after.ended or revive)):
            return Written(row, done=False)
        row = replace(row, **differing(change))  # type: ignore[arg-type]
        self._rows[row.shard_id] = row
        return Written(row, done=True)

    def want(self, lease: Lease, worker_id: str) -> None:
        with self._lock:
            row = self._rows.get(lease.shard_id)
            if row is not None and row.owner == lease.owner and row.wanted_by is None:
                self._rows[row.shard_id] = replace(row, wanted_by=worker_id)

    def answer_halt(self, lease: Lease, halt: Halt | None) -> bool:
        with self._lock:
            row = self._rows.get(lease.shard_id)
            if row is None or row.halted != lease.halted:
                return False
            self._rows[row.shard_id] = replace(row, halted=halt)
            return True

    def delete(self, lease: Lease) -> None:
        with self._lock:
            row = self._rows.get(lease.shard_id)
            if row is not None and row.ended and row.counter == lease.counter:
                del self._rows[row.shard_id]

    def close(self) -> None:
        """Do nothing: there is no connection."""


def _seen(row: Lease) -> tuple[object, ...]:
    return row.counter, row.owner, row.checkpoint_owner, row.token


def differing(change: Change) -> dict[str, object]:
    """Return the fields that a change writes, those in which its two rows differ."""
    before, after = change
    names = (field.name for field in fields(Lease))
    return {name: getattr(after, name) for name in names if getattr(after, name) != getattr(before, name)}
