"""Who should hold which lease: pure decisions from what one worker sees. No leader: every worker plans for itself.

Load is counted in leases that can run, weighted by their bytes; finished shards never skew it. From a live peer of ours
a lease is asked for, not stolen, and only if the move makes the two more even: so each move lessens the unevenness of
the fleet, and leases come to rest. A KCL does not hear requests: from its workers we take as a KCL 2.x takes.
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

# Seconds after which an offer that its recipient has not accepted may be taken by anybody.
OFFER_STANDS = 2.0
# Bytes begin to matter at a twentieth of what a shard can take in (AWS: 1 MB/s a shard), KB/s.
LEAST_THROUGHPUT = 50.0
# How much more uneven than the lease's own weight two workers must be before it moves: estimates waver.
SLACK = 0.5


@dataclass(frozen=True, slots=True)
class View:
    """One worker's situation: which shards it reads, how many it may, how many moves are enough for now."""

    me: WorkerIdentity
    running: Collection[str]
    now: float
    most_leases: int
    most_moves: int
    may_steal: bool = False  # from a KCL; it is done seldom, as by KCL itself


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do: leases to take now, and leases to ask their owners for."""

    take: Sequence[Lease] = ()
    want: Sequence[Lease] = ()
    steal: Sequence[Lease] = ()


@dataclass(frozen=True, slots=True)
class Peer:
    """A live worker: its leases, and whether it is one of ours, which hears requests and accepts offers."""

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
        unwanted = waited[row.shard_id] > liveness.duration / 2  # whoever is below its share had its time
        bound = view.most_leases if offered_to_me or unwanted else min(view.most_leases, share)
        if mine + len(take) < bound and (offered_to_me or len(take) < view.most_moves):
            take.append(row)
    return take


def _is_free(row: Lease, dead: Collection[str], me: WorkerIdentity) -> bool:
    return row.owner is None or row.shard_id in dead or row.waits_for(me)


def _lapsed(leases: Sequence[Lease], liveness: Liveness, now: float) -> set[str]:
    """The shards whose owners are dead, or were offered them and have not accepted: they say nothing of who lives."""
    stale = {row.shard_id for row in leases if row.offered and liveness.still_for(row, now) >= OFFER_STANDS}
    return stale | {row.shard_id for row in leases if liveness.expired(row, now)}


def peers_of(leases: Sequence[Lease], liveness: Liveness, me: WorkerIdentity, now: float) -> dict[str, Peer]:
    """The live workers other than `me` and how many of these leases each has; those that only wish have none."""
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
    """What each lease counts: one for being there, and its bytes in relation to what a lease has on average."""
    rows = list(leases)
    mean = sum(row.throughput or 0.0 for row in rows) / len(rows) if rows else 0.0
    return {row.shard_id: 1.0 + (row.throughput or 0.0) / max(mean, LEAST_THROUGHPUT) for row in rows}


def _requests(leases: Sequence[Lease], dead: Collection[str], liveness: Liveness, view: View, room: int) -> list[Lease]:
    """Leases to ask their owners for, as if everything wished for had already moved."""
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
        if -load - loads[mine] <= 1.0 + SLACK:  # the lightest lease weighs one
            break  # nor have the others more
        row = _best(by_owner[owner], weight, -load - loads[mine], view.me)
        uneven = len(by_owner[owner]) - len(by_owner[mine]) >= 2
        if row is None or not (uneven or liveness.owned_for(row, view.now) > 3 * liveness.duration):
            heapq.heappop(richest)
            continue
        by_owner[owner].remove(row)
        by_owner[mine].append(row)
        heapq.heapreplace(richest, (load + weight[row.shard_id], owner))
        loads[mine] += weight[row.shard_id]
        requests.append(row)
    return requests


def _by_owner(leases: Sequence[Lease], dead: Collection[str], view: View) -> dict[str, list[Lease]]:
    """Who will hold what once every wish is granted."""
    by_owner: dict[str, list[Lease]] = {view.me.worker_id: []}
    for row in leases:
        next_owner = row.owner if row.wanted_by is None else row.wanted_by
        if next_owner is not None and row.shard_id not in dead:
            by_owner.setdefault(next_owner, []).append(row)
    return by_owner


def _best(held: Sequence[Lease], weight: Mapping[str, float], gap: float, me: WorkerIdentity) -> Lease | None:
    """The lease that evens out a gap best, if moving it makes the two more even at all."""
    movable = [row for row in held if row.wanted_by is None and row.ours and gap > weight[row.shard_id] + SLACK]
    return min(movable, key=lambda row: (abs(gap / 2 - weight[row.shard_id]), _shuffled(row, me)), default=None)


def _steals(leases: Sequence[Lease], view: View, mine: int) -> list[Lease]:
    """One lease of the richest worker of a KCL, if that has at least two more than we have."""
    owned: dict[str, list[Lease]] = {}
    for row in leases:
        if row.owner not in (None, view.me.worker_id) and not row.ours and row.checkpoint_owner is None:
            owned.setdefault(str(row.owner), []).append(row)
    richest = max(owned.values(), key=len, default=[])
    if len(richest) - mine < 2:
        return []
    return [min(richest, key=lambda row: _shuffled(row, view.me))]


def _shuffled(row: Lease, me: WorkerIdentity) -> bytes:
    """Each worker goes through the leases in an order of its own, so that two rarely reach for the same one."""
    return blake2b(f"{me.worker_id}/{row.shard_id}".encode(), digest_size=8).digest()
