"""Plan which leases this worker takes, requests or steals, from what it sees of the lease table. Pure.

There is no leader: every worker plans for itself. Load is the number of leases whose shards can be read, weighted by
their bytes. A lease of a live peer is requested, not stolen, and only if the move makes the two workers more even. So
each move makes the fleet more even, and then the leases stay where they are. A KCL does not know requests, so leases
are taken from its workers as a KCL 2.x takes them.
"""

import heapq
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from consumer.fleet.lineage import runnable
from consumer.fleet.liveness import Liveness
from consumer.leases import Lease, WorkerIdentity

# KB/s at which bytes start to matter: a twentieth of what a shard can take in (AWS: 1 MB/s per shard).
LEAST_THROUGHPUT = 50.0
# Two workers must differ by this much more than the lease's weight before it moves, because estimates vary.
SLACK = 0.5
# The lightest lease weighs this much.
LEAST_WEIGHT = 1.0


@dataclass(frozen=True, slots=True)
class View:
    """What one worker reads (`running`), how many leases it may hold, and how many it may move now."""

    me: WorkerIdentity
    running: Collection[str]
    now: float
    most_leases: int
    most_moves: int
    may_steal: bool = False  # from a KCL; rarely, as KCL itself does


@dataclass(frozen=True, slots=True)
class Plan:
    """The leases to take now, to request from their owners, and to steal from a KCL."""

    take: Sequence[Lease] = ()
    want: Sequence[Lease] = ()
    steal: Sequence[Lease] = ()


@dataclass(frozen=True, slots=True)
class Peer:
    """A live worker: its number of leases, and whether it runs this program, which knows requests and offers."""

    leases: int
    ours: bool
    draining: bool


def plan(rows: Sequence[Lease], liveness: Liveness, view: View) -> Plan:
    """Decide what this worker does next."""
    leases = runnable(rows)
    dead = _lapsed(leases, liveness, view.now)
    free = [row for row in leases if row.shard_id not in view.running and _is_free(row, dead, view.me)]
    peers = _peers(leases, dead, view.me)
    share = math.ceil(len(leases) / (sum(not peer.draining for peer in peers.values()) + 1))
    take = _takes(leases, free, share, liveness, view)
    mine = sum(row.shard_id in view.running for row in leases) + len(take)
    room = min(view.most_moves - len(take), view.most_leases - mine)
    if free or room <= 0:
        return Plan(take)
    want = _requests(leases, dead, liveness, view, room)
    return Plan(take, want, _steals(leases, view, mine) if view.may_steal and not want and mine < share else ())


def _takes(leases: Sequence[Lease], free: list[Lease], share: int, liveness: Liveness, view: View) -> list[Lease]:
    waited = liveness.free_for(free, view.now)
    mine = sum(row.shard_id in view.running for row in leases)
    free.sort(key=lambda row: (row.owner != view.me.worker_id, _shuffled(row, view.me)))
    take: list[Lease] = []
    for row in free:
        offered_to_me = row.owner == view.me.worker_id
        unwanted = waited[row.shard_id] > liveness.timings.unwanted_after
        bound = view.most_leases if offered_to_me or unwanted else min(view.most_leases, share)
        if mine + len(take) < bound and (offered_to_me or len(take) < view.most_moves):
            take.append(row)
    return take


def _is_free(row: Lease, dead: Collection[str], me: WorkerIdentity) -> bool:
    return row.owner is None or row.shard_id in dead or row.waits_for(me)


def _lapsed(leases: Sequence[Lease], liveness: Liveness, now: float) -> set[str]:
    """Return the shards whose lease has expired, and those whose offer was not accepted in time."""
    patience = liveness.timings.offer_duration
    stale = {row.shard_id for row in leases if row.offered and liveness.still_for(row, now) >= patience}
    return stale | {row.shard_id for row in leases if liveness.expired(row, now)}


def peers_of(leases: Sequence[Lease], liveness: Liveness, me: WorkerIdentity, now: float) -> dict[str, Peer]:
    """Return the live workers other than `me` by id, including those that hold no lease and only request some."""
    return _peers(leases, _lapsed(leases, liveness, now), me)


def _peers(leases: Sequence[Lease], dead: Collection[str], me: WorkerIdentity) -> dict[str, Peer]:
    owned: Counter[str] = Counter()
    ours: set[str] = set()
    draining: set[str] = set()
    for row in leases:
        if row.shard_id in dead:
            continue
        if row.owner is not None:
            owned[row.owner] += 1
            ours |= {row.owner} if row.ours else set()
            draining |= {row.owner} if row.draining else set()
        if row.wanted_by is not None:
            owned[row.wanted_by] += 0
            ours.add(row.wanted_by)
    return {
        worker_id: Peer(leases, worker_id in ours, worker_id in draining)
        for worker_id, leases in owned.items()
        if worker_id != me.worker_id
    }


def weights(leases: Iterable[Lease]) -> dict[str, float]:
    """Return the weight of each lease by shard id: `LEAST_WEIGHT`, plus its bytes relative to the average lease."""
    rows = list(leases)
    mean = sum(row.throughput or 0.0 for row in rows) / len(rows) if rows else 0.0
    return {row.shard_id: LEAST_WEIGHT + (row.throughput or 0.0) / max(mean, LEAST_THROUGHPUT) for row in rows}


def _requests(leases: Sequence[Lease], dead: Collection[str], liveness: Liveness, view: View, room: int) -> list[Lease]:
    """Return the leases to request. Leases that are requested already count as moved."""
    weight = weights(leases)
    by_owner = _by_owner(leases, dead, view)
    loads = {owner: sum(weight[row.shard_id] for row in held) for owner, held in by_owner.items()}
    mine = view.me.worker_id
    requests: list[Lease] = []
    givers = {str(row.owner) for row in leases if row.owner in by_owner and row.ours and row.shard_id not in dead}
    richest = [(-loads[owner], owner) for owner in givers - {mine}]
    heapq.heapify(richest)
    while richest and len(requests) < room:
        load, owner = richest[0]
        if -load - loads[mine] <= LEAST_WEIGHT + SLACK:
            break  # the other workers have even less
        row = _best(by_owner[owner], weight, -load - loads[mine], view.me)
        uneven = len(by_owner[owner]) - len(by_owner[mine]) >= 2
        if row is None or not (uneven or liveness.owned_for(row, view.now) > liveness.timings.settled_after):
            heapq.heappop(richest)
            continue
        by_owner[owner].remove(row)
        by_owner[mine].append(row)
        heapq.heapreplace(richest, (load + weight[row.shard_id], owner))
        loads[mine] += weight[row.shard_id]
        requests.append(row)
    return requests


def _by_owner(leases: Sequence[Lease], dead: Collection[str], view: View) -> dict[str, list[Lease]]:
    """Return the leases of each worker as if every request had been granted."""
    by_owner: dict[str, list[Lease]] = {view.me.worker_id: []}
    for row in leases:
        next_owner = row.owner if row.wanted_by is None else row.wanted_by
        if next_owner is not None and row.shard_id not in dead:
            by_owner.setdefault(next_owner, []).append(row)
    return by_owner


def _best(held: Sequence[Lease], weight: Mapping[str, float], gap: float, me: WorkerIdentity) -> Lease | None:
    """Return the lease whose move evens out a gap best, or None if no move makes the two more even."""
    movable = [row for row in held if row.wanted_by is None and row.ours and gap > weight[row.shard_id] + SLACK]
    return min(movable, key=lambda row: (abs(gap / 2 - weight[row.shard_id]), _shuffled(row, me)), default=None)


def _steals(leases: Sequence[Lease], view: View, mine: int) -> list[Lease]:
    """Return one lease of the KCL worker with the most leases, if it has at least two more than this worker."""
    owned: dict[str, list[Lease]] = {}
    for row in leases:
        if row.owner not in (None, view.me.worker_id) and not row.ours and row.checkpoint_owner is None:
            owned.setdefault(str(row.owner), []).append(row)
    richest = max(owned.values(), key=len, default=[])
    if len(richest) - mine < 2:
        return []
    return [min(richest, key=lambda row: _shuffled(row, view.me))]


def _shuffled(row: Lease, me: WorkerIdentity) -> bytes:
    """Return a sort key that differs per worker, so that two workers rarely take the same lease."""
    return blake2b(f"{me.worker_id}/{row.shard_id}".encode(), digest_size=8).digest()
