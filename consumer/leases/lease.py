"""One row of the lease table, and the pure steps from one state of it to the next.

The lease row *is* the checkpoint row: one row, one condition, nothing to disagree with. Each step returns the row as it
should stand next, always with the counter one higher; `LeaseTable.write` makes it so only if the row still stands as it
was seen. Fields carry KCL's names where KCL has them; `token`, `started_at`, `stream_created_at`, `wanted_by`,
`draining`, `read_to`, `lost_from` and `lost_to` are ours alone, and a KCL leaves them as they are.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from consumer.records import FULL_HASH_RANGE, SHARD_END, TRIM_HORIZON, Position, PositionKind


class WorkerIdentity(NamedTuple):
    """One life of one worker: its id, which may be used again, and the random `start` of this process."""

    worker_id: str
    start: str


class Token(NamedTuple):
    """Who wrote the row last, if it was one of ours: a worker, its start, and the counter that it wrote.

    When `counter` is not the row's, somebody else (a KCL) has written since, and the held_lease is over.
    """

    worker_id: str
    start: str
    counter: int


class Pending(NamedTuple):
    """The first half of a two-phase checkpoint: where the batch ends, and what names the files it is written to.

    `version` tells which decoder, with which settings, made the batch; "" in rows of releases that did not keep it.
    """

    end: Position
    name: str
    version: str = ""

    @classmethod
    def stored(cls, end: Position, text: str) -> "Pending":
        """Read what `text` wrote."""
        name, _, version = text.partition(" ")
        return cls(end, name, version)

    @property
    def text(self) -> str:
        """Name and version as a lease table stores them. Older releases take all of it for the name."""
        return f"{self.name} {self.version}" if self.version else self.name


class NextOwner(NamedTuple):
    """Who is to have a lease next: one of ours, which accepts an offer, or a worker of a KCL 3.x."""

    worker_id: str
    ours: bool = True


@dataclass(frozen=True, slots=True)
class Lease:
    """A shard, how far it is delivered, and who may deliver on.

    `read_to`: all that arrived before is delivered. `throughput` is in KB/s, smoothed. `checkpoint_owner` is set by the
    leader of a KCL 3.x fleet while it moves a lease: the old owner, who may still checkpoint; `owner` is the new one.
    `lost_from`, `lost_to`: what arrived between may have been trimmed unread, the last time that this happened.
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

    @property
    def ended(self) -> bool:
        """The shard is finished and delivered; the row stays as a tombstone."""
        return self.checkpoint == SHARD_END

    @property
    def ours(self) -> bool:
        """A worker of this program wrote the row last; otherwise it was a KCL, or the row is new."""
        return self.token is not None and self.token.counter == self.counter

    @property
    def offered(self) -> bool:
        """One of ours has handed the lease to `owner`, who has not accepted it yet."""
        token = self.token
        if token is None or self.owner is None or self.checkpoint_owner is not None:
            return False
        return token.counter == self.counter and token.worker_id != self.owner

    @property
    def next_owner(self) -> NextOwner | None:
        """Whom the lease is called for: whom a KCL's leader has named, or a peer of ours that wishes for it."""
        if self.checkpoint_owner is not None:
            return NextOwner(str(self.owner), ours=False)
        return NextOwner(self.wanted_by) if self.wanted_by is not None else None

    def held_by(self, worker: WorkerIdentity) -> bool:
        """This very process may move the checkpoint: the row names it, and nobody has written since."""
        holder = self.checkpoint_owner or self.owner
        return holder == worker.worker_id and self.token == Token(*worker, self.counter)

    def waits_for(self, worker: WorkerIdentity) -> bool:
        """It names `worker`: offered, assigned by a KCL's leader, or a take of its own whose answer was lost.

        While an old owner still checkpoints (KCL 3.x), it is not the worker's yet.
        """
        return not self.ended and self.owner == worker.worker_id and self.checkpoint_owner is None

    def held_by_duplicate(self, worker: WorkerIdentity) -> bool:
        """Another process under the same id, living or dead, owns the row and wrote it last."""
        token = self.token
        return (
            token is not None
            and self.ours
            and self.owner == token.worker_id == worker.worker_id
            and token.start != worker.start
        )

    @property
    def start(self) -> Position:
        """Where to open the shard: the checkpoint, or the instant kept for a row that has none yet (rule 6)."""
        if self.checkpoint.rank is PositionKind.SEQUENCE or self.ended:
            return self.checkpoint
        if self.started_at is not None:
            return Position.at_timestamp(self.started_at)
        # A KCL keeps the instant of AT_TIMESTAMP in its settings alone: without it, what is there loses nothing.
        return TRIM_HORIZON if self.checkpoint.rank is PositionKind.AT_TIMESTAMP else self.checkpoint


def taken(lease: Lease, worker: WorkerIdentity) -> Lease:
    """The row once `worker` holds it: from nobody, from a dead owner, from a KCL, or by accepting an offer."""
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
    """The row one heartbeat later."""
    return replace(_written(lease, worker), read_to=later(lease.read_to, read_to), throughput=throughput)


def departing(lease: Lease, next_owner: str | None) -> Lease:
    """The row of an owner that is about to leave: nobody offers it anything, and `next_owner` may expect the lease."""
    return replace(lease, draining=True, wanted_by=next_owner or lease.wanted_by)


def trimmed_unread(lease: Lease, start: datetime | None, end: datetime) -> Lease:
    """The row of a shard of which records may have been trimmed unread: those that arrived from `start` to `end`."""
    return replace(lease, lost_from=start, lost_to=end)


def withdrawn(lease: Lease) -> Lease:
    """The row without the wish on it; written by who wished, so the counter stays: it is no heartbeat."""
    return replace(lease, wanted_by=None)


def prepared(lease: Lease, worker: WorkerIdentity, pending: Pending) -> Lease:
    """The row before a batch that must be recognised when it is written again."""
    return replace(_written(lease, worker), pending=pending)


def checkpointed(
    lease: Lease,
    worker: WorkerIdentity,
    position: Position,
    read_to: datetime | None = None,
    children: tuple[str, ...] = (),
) -> Lease:
    """The row once everything up to `position` is delivered. A pending end goes with it.

    Raises:
        ValueError: `position` lies before the checkpoint; a checkpoint never goes back.
    """
    if position < lease.checkpoint:
        raise ValueError(f"checkpoint of {lease.shard_id} would go back from {lease.checkpoint} to {position}")
    return replace(
        _written(lease, worker),
        checkpoint=position,
        switches=0,
        pending=None,
        read_to=later(lease.read_to, read_to),
        children=children or lease.children,
    )


def handed_on(
    lease: Lease, worker: WorkerIdentity, next_owner: NextOwner | None, read_to: datetime | None = None
) -> Lease:
    """The row once `worker` has handed it to `next_owner`, or to nobody.

    To one of ours the token stays that of `worker`: this makes it an offer. To a worker of a KCL 3.x it is assigned as
    the leader there assigns, without a token of ours; a move that the leader has begun ends as it said.
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
    """Return the later of two instants, of those that are known."""
    return max(one, other) if one and other else one or other
