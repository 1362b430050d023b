"""Who should hold which lease: pure decisions from what one worker sees. No leader: every worker plans for itself.

Fair shares are counted in leases that can run, so finished shards never skew them. A lease is asked for, not stolen,
from a live peer that has at least two more: with one more it would only travel to and fro.
"""

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from consumer.engine.lineage import runnable
from consumer.leases import Lease, Worker

# Seconds after which an offer that its recipient has not accepted may be taken by anybody.
OFFER_STANDS = 2.0


@dataclass
class Watch:
    """What one worker has seen of the rows, on its own clock: wall clocks of hosts are never compared (rule 3)."""

    duration: float
    _seen: dict[str, tuple[tuple[int, str | None], float]] = field(default_factory=dict)
    _free: dict[str, float] = field(default_factory=dict)
    _last: float | None = None

    def observe(self, rows: Sequence[Lease], now: float) -> None:
        """Take in a scan."""
        if self._last is not None and now - self._last > self.duration:
            self._seen.clear()  # we slept: that the rows stood still meanwhile says nothing
            self._free.clear()
        self._last = now
        seen = {}
        for row in rows:
            state = (row.counter, row.owner)
            before = self._seen.get(row.shard_id)
            seen[row.shard_id] = before if before and before[0] == state else (state, now)
        self._seen = seen

    def still_for(self, row: Lease, now: float) -> float:
        """Seconds for which the row has not moved."""
        seen = self._seen.get(row.shard_id)
        return now - seen[1] if seen else 0.0

    def expired(self, row: Lease, now: float) -> bool:
        """Its owner is dead: the counter has stood still for longer than a lease lasts."""
        return row.owner is not None and self.still_for(row, now) > self.duration

    def free_for(self, free: Sequence[Lease], now: float) -> dict[str, float]:
        """Seconds for which each of these has been free for the taking."""
        self._free = {row.shard_id: self._free.get(row.shard_id, now) for row in free}
        return {shard_id: now - since for shard_id, since in self._free.items()}


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do: leases to take now, and leases to ask their owners for."""

    take: Sequence[Lease] = ()
    want: Sequence[Lease] = ()


def plan(rows: Sequence[Lease], watch: Watch, me: Worker, running: Collection[str], now: float, most: int) -> Plan:
    """Decide; `running` names the shards that this process reads, `most` bounds how many it may."""
    leases = runnable(rows)
    free = [row for row in leases if row.shard_id not in running and _is_free(row, watch, me, now)]
    waited = watch.free_for(free, now)
    peers = peers_of(rows, watch, me, now) | {me.worker_id: 0}
    mine = sum(row.shard_id in running for row in leases)
    share = min(most, math.ceil(len(leases) / len(peers)))
    free.sort(key=lambda row: (row.owner != me.worker_id, _shuffled(row, me)))
    take: list[Lease] = []
    for row in free:
        offered_to_me = row.owner == me.worker_id
        unwanted = waited[row.shard_id] > watch.duration / 2  # whoever is below its share had its time
        if mine + len(take) < (most if offered_to_me or unwanted else share):
            take.append(row)
    short = share - mine - len(take)
    return Plan(take, _wishes(leases, watch, me, now, short) if short > 0 and not free else ())


def _is_free(row: Lease, watch: Watch, me: Worker, now: float) -> bool:
    if row.owner is None or watch.expired(row, now):
        return True
    if row.owner == me.worker_id:
        return row.offered or row.held_by(me)  # an offer to us, or a take of ours whose answer was lost
    return row.offered and watch.still_for(row, now) >= OFFER_STANDS


def peers_of(rows: Sequence[Lease], watch: Watch, me: Worker, now: float) -> Counter[str]:
    """The live workers other than `me` and how many runnable leases each has; those that only wish have none."""
    peers: Counter[str] = Counter()
    leaving = set()
    for row in runnable(rows):
        if row.owner is not None and row.owner != me.worker_id and not watch.expired(row, now):
            peers[row.owner] += 1
            if row.draining:
                leaving.add(row.owner)
        if row.wanted_by is not None and row.wanted_by != me.worker_id and not watch.expired(row, now):
            peers[row.wanted_by] += 0
    for worker_id in leaving:
        del peers[worker_id]
    return peers


def _wishes(leases: Sequence[Lease], watch: Watch, me: Worker, now: float, short: int) -> list[Lease]:
    owned: dict[str, list[Lease]] = {}
    coming = 0
    for row in leases:
        if row.wanted_by == me.worker_id:
            coming += 1
        elif row.owner not in (None, me.worker_id) and row.wanted_by is None and not watch.expired(row, now):
            owned.setdefault(str(row.owner), []).append(row)
    mine = sum(row.owner == me.worker_id for row in leases) + coming
    wishes: list[Lease] = []
    while len(wishes) < short - coming and owned:
        richest = max(owned, key=lambda owner: (len(owned[owner]), owner))
        if len(owned[richest]) - (mine + len(wishes)) < 2:
            break
        owned[richest].sort(key=lambda row: _shuffled(row, me))
        wishes.append(owned[richest].pop())
    return wishes


def _shuffled(row: Lease, me: Worker) -> bytes:
    """Each worker goes through the leases in an order of its own, so that two rarely reach for the same one."""
    return blake2b(f"{me.worker_id}/{row.shard_id}".encode(), digest_size=8).digest()
