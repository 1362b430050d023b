"""Drain a worker: announce the next owners, read on until they have scanned the table, then hand off."""

from collections.abc import Callable, Mapping

from consumer.fleet.running_shards import RunningShards
from consumer.leases import NextOwner

# Seconds between checks for shards whose take was still running when the drain started.
CHECK_INTERVAL = 0.5


class Drain:
    """A task that hands every lease to a live peer, or releases it if there is none.

    Peers scan the table rarely, but read often the rows that are coming to them. So the rows announce at once that this
    worker drains and which worker follows. The shards are read until the peers have seen that, and only then does a gap
    in reading begin.
    """

    def __init__(self, running_shards: RunningShards, next_owners: Callable[[], Mapping[NextOwner, int]]) -> None:
        self._running_shards, self._next_owners = running_shards, next_owners
        self._clock = running_shards.context.clock
        self._chosen: dict[str, NextOwner | None] = {}
        self._stops_at, self._until = float("-inf"), float("inf")
        self._handed_off: set[str] = set()

    def announce(self, notice: float, until: float) -> float:
        """Announce the next owner of each lease with the next renewals; return the seconds to keep reading.

        `notice`: seconds until peers of this program have seen it. A KCL cannot see it, so reading stops at once if
        only KCL workers follow. `until`: the time at which shards stop trying to deliver.
        """
        self._until = until
        self._choose()
        for shard_id, consumer in self._running_shards.running.items():
            consumer.held_lease.announce_drain(self._chosen[shard_id])
        announced = any(next_owner is not None and next_owner.ours for next_owner in self._chosen.values())
        reads_on = notice if announced else 0.0
        self._stops_at = self._clock() + reads_on
        return reads_on

    def step(self, now: float) -> float | None:
        if now < self._stops_at:
            return self._stops_at - now
        self._choose()
        running = self._running_shards.running
        for shard_id in running.keys() - self._handed_off:
            self._running_shards.hand_off(running[shard_id], self._chosen[shard_id], self._until)
        self._handed_off |= running.keys()
        return None if all(consumer.over for consumer in running.values()) else CHECK_INTERVAL

    def _choose(self) -> None:
        """Choose the worker that asked for the lease, else the live, non-draining one with the fewest leases."""
        leases = dict(self._next_owners())
        for shard_id, consumer in self._running_shards.running.items():
            next_owner = self._chosen.get(shard_id, consumer.held_lease.lease.next_owner)
            if next_owner not in leases:
                next_owner = min(
                    leases, key=lambda next_owner: (leases[next_owner], next_owner.worker_id), default=None
                )
            if next_owner is not None:
                leases[next_owner] += 1
            self._chosen[shard_id] = next_owner
