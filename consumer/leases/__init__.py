"""The lease table port: one row per shard, changed only by conditional writes.

`lease.py` and `shard.held_lease` decide what to write; an adapter only compares and writes. One contract suite
(tests/contracts) runs over all adapters. Every call may raise `LeaseTableUnavailable`; a write may then have happened
or not.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from consumer.errors import ConsumerError, LeaseTableUnavailable
from consumer.leases.halt import Halt
from consumer.leases.lease import Lease, NextOwner, Pending, Token, WorkerIdentity

__all__ = [
    "Change",
    "EditableLeaseTable",
    "Halt",
    "Lease",
    "LeaseTable",
    "NextOwner",
    "PartlyWritten",
    "Pending",
    "Scope",
    "Token",
    "WorkerIdentity",
    "Written",
]


@dataclass(frozen=True, slots=True)
class Scope:
    """The application and stream that the leases belong to. A call takes at most about `timeout` seconds.

    `access` creates AWS clients (`consumer.aws.access`) for a table on AWS.
    """

    application: str
    stream: str
    timeout: float
    region: str | None = None
    endpoint_url: str | None = None
    access: Any = None


class Change(NamedTuple):
    """Change the row to `after`, if its counter, owners and token are still those of `before`.

    Only the fields that differ are written, so a `wanted_by` that another worker has just set stays.
    """

    before: Lease
    after: Lease


class Written(NamedTuple):
    """The result of a change: the row as it is now (None if there is none), and whether the change was made."""

    row: Lease | None
    done: bool


class PartlyWritten(LeaseTableUnavailable):
    """Some changes have no known result: they may have been made or not.

    `results` has one item per change in the same order, None where the result is unknown.
    """

    def __init__(self, why: ConsumerError, results: "Sequence[Written | None]") -> None:
        super().__init__(str(why))
        self.code, self.cause = why.code, why.cause
        self.results = results


class LeaseTable(Protocol):
    """The leases of one application on one stream. Thread-safe."""

    def check(self) -> None:
        """Create the table if it is missing, and check that it can be used.

        Raises:
            ConfigurationError: the table cannot be used until an operator changes something.
        """
        ...

    def scan(self) -> Sequence[Lease]:
        """Return all rows. They may be slightly out of date: every later write is conditional on the row."""
        ...

    def read(self, shard_ids: Collection[str]) -> Sequence[Lease]:
        """Return the current rows of these shards. Shards without a row are left out."""
        ...

    def unreadable(self) -> Mapping[str, str]:
        """Return the damaged rows that the last scan left out: a message by shard id.

        Never write such a row. Its shard counts as one that has a row and has not ended.
        """
        ...

    def assignees(self) -> Collection[str]:
        """Return the ids of live workers of a KCL 3.x fleet, as of the last scan.

        A lease can be assigned to these. A KCL 2.x worker would ignore it: it only reads leases that it took itself.
        """
        ...

    def create(self, lease: Lease) -> None:
        """Create a row, unless the shard has one already."""
        ...

    def write(self, changes: Sequence[Change]) -> Sequence[Written]:
        """Make each change independently of the others. Return the results in the order of `changes`.

        `changes` has at most one change per shard. A row at SHARD_END stays there: a change that moves it is not made.

        Raises:
            PartlyWritten: some results are known.
            LeaseTableUnavailable: no result is known.
        """
        ...

    def want(self, lease: Lease, worker_id: str) -> None:
        """Ask the owner for a lease: set `wanted_by` to `worker_id`. The owner sees it at its next write.

        Do nothing if the owner has changed or `wanted_by` is set already. The counter stays the same, because only the
        owner's renewals may move it.
        """
        ...

    def delete(self, lease: Lease) -> None:
        """Delete a row at SHARD_END if its counter is unchanged; otherwise do nothing."""
        ...

    def close(self) -> None:
        """Close connections."""
        ...


class EditableLeaseTable(LeaseTable, Protocol):
    """A lease table that outlives its workers, so that an operator can move its checkpoints.

    Workers never call these methods. The caller holds the lease of each row that it changes.
    """

    def exists(self) -> bool:
        """Return whether the table is there. Create nothing.

        Raises:
            ConfigurationError: it cannot be used until an operator changes something.
        """
        ...

    def rewrite(self, changes: Sequence[Change]) -> Sequence[Written]:
        """Make each change like `write`, also if it moves a row away from SHARD_END."""
        ...

    def answer_halt(self, lease: Lease, halt: Halt | None) -> bool:
        """Replace `halted` if it is still that of `lease`; return whether it was. The owner sees it at its next write.

        The caller need not hold the lease, and the counter stays the same.
        """
        ...

    def remove(self, lease: Lease) -> bool:
        """Delete a row, ended or not, if its counter, owners and token are unchanged; return whether it is gone."""
        ...
