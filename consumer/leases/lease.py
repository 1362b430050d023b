"""One row of the lease table, and pure functions from one state of the row to the next.

Lease and checkpoint share one row, so one condition protects both (docs/guarantees.md#fenced-writes). Each function
returns the next row; `LeaseTable.write` stores it only if the row is unchanged. Fields have KCL's names. KCL does not
know `token`, `started_at`, `stream_created_at`, `wanted_by`, `draining`, `read_to`, `lost_from`, `lost_to` and
`halted`, and leaves them unchanged.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from consumer.leases.halt import Halt
from consumer.records import FULL_HASH_RANGE, SHARD_END, TRIM_HORIZON, Position, PositionKind


class UnreadableRow(ValueError):
    """A row of the lease table is damaged, and is left unchanged. The message never contains a damaged value."""


class WorkerIdentity(NamedTuple):
    """A worker's id, which its next process may use again, and a random `start` that is unique to this process."""

    worker_id: str
    start: str


class Token(NamedTuple):
    """The last write by a worker of this program: the worker, its start, and the counter that it wrote.

    If `counter` differs from the row's counter, a KCL has written the row since, and the lease is lost.
    """

    worker_id: str
    start: str
    counter: int


class Pending(NamedTuple):
    """The first phase of a two-phase checkpoint: the end of the batch, and the name that its files get.

    `version` identifies the decoder that made the batch; "" in rows that earlier releases wrote.
    """

    end: Position
    name: str
    version: str = ""

    @classmethod
    def stored(cls, end: Position, text: str) -> "Pending":
        """Return the pending checkpoint that a lease table stored as `end` and `text` (see the property)."""
        name, _, version = text.partition(" ")
        return cls(end, name, version)

    @property
    def text(self) -> str:
        """Return name and version as a lease table stores them. Earlier releases read both as the name."""
        return f"{self.name} {self.version}" if self.version else self.name


class NextOwner(NamedTuple):
    """The next owner of a lease: a worker of this program (`ours`), or one of a KCL 3.x fleet."""

    worker_id: str
    ours: bool = True


@dataclass(frozen=True, slots=True)
class Lease:
    """The lease of one shard: its checkpoint and its owner.

    `read_to`: all records that arrived before this time are delivered. `throughput`: smoothed, in KB/s.
    `checkpoint_owner`: while a KCL 3.x leader moves a lease, the old owner, which may still checkpoint; `owner` is then
    the new one. `lost_from`, `lost_to`: records that arrived between these times may have been trimmed unread.
    """

    shard_id: str
    checkpoint: Position = TRIM_HORIZON
    parents: tuple[str, ...] = ()
    children: tuple[str, ...] = ()
    hash_range: tuple[int, int] = FULL_HASH_RANGE
    owner: str | None = None
    checkpoint_owner: str | None = None
    counter: int = 0
    switches: int = 0
    token: Token | None = None
    pending: Pending | None = None
    started_at: datetime | None = None
    stream_created_at: datetime | None = None
    read_to: datetime | None = None
    throughput: float | None = None
    wanted_by: str | None = None
    draining: bool = False
    lost_from: datetime | None = None
    lost_to: datetime | None = None
    halted: Halt | None = None

    @property
    def ended(self) -> bool:
        """Return whether the shard is closed and delivered. Its row stays until its children have moved on."""
        return self.checkpoint == SHARD_END

    @property
    def ours(self) -> bool:
        """Return whether a worker of this program wrote the row last. False for a new row or one that a KCL wrote."""
        return self.token is not None and self.token.counter == self.counter

    @property
    def offered(self) -> bool:
        """Return whether a worker of this program has offered the lease to `owner`, which has not accepted it yet."""
        token = self.token
        if token is None or self.owner is None or self.checkpoint_owner is not None:
            return False
        return token.counter == self.counter and token.worker_id != self.owner

    @property
    def next_owner(self) -> NextOwner | None:
        """Return the worker that the lease should move to: the choice of a KCL's leader, or `wanted_by`."""
        if self.checkpoint_owner is not None:
            return NextOwner(str(self.owner), ours=False)
        return NextOwner(self.wanted_by) if self.wanted_by is not None else None

    def held_by(self, worker: WorkerIdentity) -> bool:
        """Return whether `worker` may move the checkpoint: it owns the row and wrote it last."""
        holder = self.checkpoint_owner or self.owner
        return holder == worker.worker_id and self.token == Token(*worker, self.counter)

    def waits_for(self, worker: WorkerIdentity) -> bool:
        """Return whether `worker` may take the row because it is the owner: by an offer, or assigned by a KCL's leader.

        It may also have taken the row and lost the response. False while an old owner still checkpoints (KCL 3.x).
        """
        return not self.ended and self.owner == worker.worker_id and self.checkpoint_owner is None

    def held_by_duplicate(self, worker: WorkerIdentity) -> bool:
        """Return whether another process with the same worker id, live or dead, owns the row and wrote it last."""
        token = self.token
        return (
            token is not None
            and self.ours
            and self.owner == token.worker_id == worker.worker_id
            and token.start != worker.start
        )

    @property
    def start(self) -> Position:
        """Return the position to read from: the checkpoint, or the time of the application's first start.

        See docs/guarantees.md#latest-is-an-instant.
        """
        if self.checkpoint.kind is PositionKind.SEQUENCE or self.ended:
            return self.checkpoint
        if self.started_at is not None:
            return Position.at_timestamp(self.started_at)
        # KCL does not store the AT_TIMESTAMP instant in the row, so start at TRIM_HORIZON to lose nothing.
        return TRIM_HORIZON if self.checkpoint.kind is PositionKind.AT_TIMESTAMP else self.checkpoint


def taken(lease: Lease, worker: WorkerIdentity) -> Lease:
    """Return the row owned by `worker`: unowned before, taken from a dead owner or a KCL, or offered."""
    switched = lease.owner != worker.worker_id
    return replace(
        _written(lease, worker),
        owner=worker.worker_id,
        checkpoint_owner=None,
        switches=lease.switches + (1 if switched else 0),
        wanted_by=None,
        draining=False,
    )


def renewed(lease: Lease, worker: WorkerIdentity, read_to: datetime | None, throughput: float | None = None) -> Lease:
    """Return the row after a renewal. `read_to` never moves back."""
    return replace(_written(lease, worker), read_to=later(lease.read_to, read_to), throughput=throughput)


def marked_draining(lease: Lease, next_owner: str | None) -> Lease:
    """Return the row of an owner that drains, so that it gets no offers. Reserve the lease for `next_owner`, if any."""
    return replace(lease, draining=True, wanted_by=next_owner or lease.wanted_by)


def trimmed_unread(lease: Lease, start: datetime | None, end: datetime) -> Lease:
    """Return the row with a note that records that arrived from `start` to `end` may have been trimmed unread."""
    return replace(lease, lost_from=start, lost_to=end)


def halted(lease: Lease, worker: WorkerIdentity, halt: Halt) -> Lease:
    """Return the row of a shard that its owner does not read on."""
    return replace(_written(lease, worker), halted=halt)


def withdrawn(lease: Lease) -> Lease:
    """Return the row without `wanted_by`. The counter stays the same: the writer is not the owner."""
    return replace(lease, wanted_by=None)


def prepared(lease: Lease, worker: WorkerIdentity, pending: Pending) -> Lease:
    """Return the row with a pending checkpoint, to be stored before the batch is written."""
    return replace(_written(lease, worker), pending=pending)


def checkpointed(
    lease: Lease,
    worker: WorkerIdentity,
    position: Position,
    read_to: datetime | None = None,
    children: tuple[str, ...] = (),
) -> Lease:
    """Return the row with everything up to `position` delivered, and without a pending checkpoint.

    Raises:
        ValueError: `position` is before the checkpoint, which never moves back.
    """
    if position < lease.checkpoint:
        raise ValueError(f"checkpoint of {lease.shard_id} would go back from {lease.checkpoint} to {position}")
    return replace(
        _written(lease, worker),
        checkpoint=position,
        switches=0,
        pending=None,
        halted=lease.halted if lease.halted and position < Position.of(lease.halted.sequence) else None,
        read_to=later(lease.read_to, read_to),
        children=children or lease.children,
    )


def handed_off(
    lease: Lease, worker: WorkerIdentity, next_owner: NextOwner | None, read_to: datetime | None = None
) -> Lease:
    """Return the row after `worker` has handed it off to `next_owner`, or released it if that is None.

    For a worker of this program the token of `worker` stays: that makes it an offer. For a worker of a KCL 3.x fleet
    the row gets no token, as if its leader had assigned it. A move that the leader has started is completed.
    """
    moved = lease.checkpoint_owner is not None
    owner = lease.owner if moved else next_owner.worker_id if next_owner else None
    written = replace(
        _written(lease, worker),
        owner=owner,
        checkpoint_owner=None,
        wanted_by=None,
        draining=False,
        read_to=later(lease.read_to, read_to),
    )
    return replace(written, token=None) if moved or (next_owner and not next_owner.ours) else written


def _written(lease: Lease, worker: WorkerIdentity) -> Lease:
    counter = lease.counter + 1
    return replace(lease, counter=counter, token=Token(*worker, counter))


def later(one: datetime | None, other: datetime | None) -> datetime | None:
    """Return the later of two instants; None means unknown."""
    return max(one, other) if one and other else one or other
