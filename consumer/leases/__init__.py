"""The lease table port. `lease.py` and `shard.held_lease` decide what may be written; an adapter compares and swaps.

An adapter keeps one row a shard and answers a few questions; the same contract suite runs over all of them
(tests/contracts). Every call may raise `LeaseTableUnavailable`: it may or may not have happened.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from consumer.errors import ConsumerError, LeaseTableUnavailable
from consumer.leases.lease import Lease, NextOwner, Pending, Token, WorkerIdentity

__all__ = [
    "Change",
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
    """Whose leases they are, and how to reach them. A call takes at most about `timeout` seconds.

    `access` makes AWS clients (`consumer.aws.access`), for a table that needs one.
    """

    application: str
    stream: str
    timeout: float
    region: str | None = None
    endpoint_url: str | None = None
    access: Any = None


class Change(NamedTuple):
    """Make the row `after`, if its counter, owner and token are still those of `before`.

    Only fields that differ are written, so what others put on the row meanwhile (`wanted_by`) stays.
    """

    before: Lease
    after: Lease


class Written(NamedTuple):
    """What came of a change: the row as it stands now (None: there is none), and whether that is our doing."""

    row: Lease | None
    done: bool


class PartlyWritten(LeaseTableUnavailable):
    """Some changes have no answer: they may or may not have been made.

    `answers` has those that came, in the order of the changes, and None for each of the others.
    """

    def __init__(self, why: ConsumerError, answers: "Sequence[Written | None]") -> None:
        super().__init__(str(why))
        self.code, self.cause = why.code, why.cause
        self.answers = answers


class LeaseTable(Protocol):
    """The leases of one application on one stream. Thread-safe."""

    def check(self) -> None:
        """Make the table if it is not there, and find out whether it can be used.

        Raises:
            ConfigurationError: it cannot, and waiting will not help.
        """
        ...

    def scan(self) -> Sequence[Lease]:
        """Return every row. May be a moment old: whatever is done about a row is conditional on it."""
        ...

    def read(self, shard_ids: Collection[str]) -> Sequence[Lease]:
        """Return these rows, those that exist, as they stand now."""
        ...

    def unreadable(self) -> Mapping[str, str]:
        """Return what the last scan left out, by shard id: rows that lack what each has, and what that is.

        They are never touched, and nothing may be concluded from them: the shard has a row, and it has not ended.
        """
        ...

    def assignees(self) -> Collection[str]:
        """Return the live workers of a KCL 3.x fleet, as of the last scan: they read what is assigned to them.

        Nobody else does, but for workers of ours: a KCL 2.x never looks at a row that it has not taken itself.
        """
        ...

    def create(self, lease: Lease) -> None:
        """Add a row unless the shard has one: idempotent."""
        ...

    def write(self, changes: Sequence[Change]) -> Sequence[Written]:
        """Carry out each change on its own (not all or nothing), at most one a shard; answers in the same order.

        A row that has ended stays ended: a change that would have it otherwise is not made.

        Raises:
            PartlyWritten: some were answered.
            LeaseTableUnavailable: none was.
        """
        ...

    def want(self, lease: Lease, worker_id: str) -> None:
        """Write a wish on a row that its owner will see at its next write: `wanted_by`, and nothing else.

        Only while the row is still owned as seen and nobody else's wish is on it; else nothing happens. The counter
        stays: a wish is no heartbeat.
        """
        ...

    def delete(self, lease: Lease) -> None:
        """Remove a row if it has ended and its counter is still as seen; else nothing happens."""
        ...

    def close(self) -> None:
        """Close connections."""
        ...
