"""Measure how long a shard was unread, and which part of that the faults explain."""

import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from consumer.leases import Lease
from tests.chaos.sinks import Seen

STEP = 0.1  # seconds between the checked times
LOOKED_AT = 10  # the slowest rows of each shard, because rows in between waited at the same time


@dataclass
class Trouble:
    """A fault of some workers, and when it kept them from reading. Epoch seconds."""

    what: str
    workers: frozenset[str]
    everyone: bool
    began: float
    ended: float = float("inf")

    def during(self, moment: float) -> bool:
        return self.began <= moment <= self.ended


class State(NamedTuple):
    """The owner of a shard from a time on."""

    since: float
    owner: str | None
    ended: bool


class Gap(NamedTuple):
    """How long a row waited, and which part of that no fault explains."""

    shard: str
    seconds: float
    net: float
    since: float
    owners: tuple[str, ...]
    troubles: tuple[str, ...]

    def __str__(self) -> str:
        began = time.strftime("%H:%M:%S", time.gmtime(self.since))
        return (
            f"{self.shard[-4:]} {self.seconds:.1f} s from {began} UTC, {self.net:.1f} s net of"
            f" {', '.join(self.troubles) or 'nothing'}; read by {', '.join(self.owners) or 'no worker'}"
        )


@dataclass
class History:
    """Record owners and faults over time."""

    troubles: list[Trouble] = field(default_factory=list)
    states: dict[str, list[State]] = field(default_factory=lambda: defaultdict(list))

    def suffered(
        self, what: str, workers: Collection[str], everyone: bool = False, lasts: float | None = None
    ) -> Trouble:
        """Record the start of a fault."""
        now = time.time()
        ends = float("inf") if lasts is None else now + lasts
        trouble = Trouble(what, frozenset(workers), everyone, now, ends)
        self.troubles.append(trouble)
        return trouble

    def all_is_well(self) -> None:
        """Record the end of all faults."""
        for trouble in self.troubles:
            trouble.ended = min(trouble.ended, time.time())

    def saw(self, lease: Lease) -> None:
        """Record a row of the lease table."""
        known = self.states[lease.shard_id]
        if not known or known[-1][1:] != (lease.owner, lease.ended):
            known.append(State(time.time(), lease.owner, lease.ended))

    def gaps(self, rows: Iterable[Seen], parents: Mapping[str, Sequence[str]]) -> list[Gap]:
        """Return the gap of each shard with the longest unexplained part, the longest first."""
        shards: dict[str, list[Seen]] = defaultdict(list)
        for row in rows:
            shards[row.shard].append(row)
        found = []
        for held in shards.values():
            slowest = sorted(held, key=lambda row: -row.delay)[:LOOKED_AT]
            found.append(max((self._gap(row, parents) for row in slowest), key=lambda gap: gap.net))
        return sorted(found, key=lambda gap: -gap.net)

    def longest(self, rows: Sequence[Seen], parents: Mapping[str, Sequence[str]]) -> Gap | None:
        """Return the row that waited longest, whether explained or not."""
        return self._gap(max(rows, key=lambda row: row.delay), parents) if rows else None

    def _gap(self, row: Seen, parents: Mapping[str, Sequence[str]]) -> Gap:
        nearby = [trouble for trouble in self.troubles if trouble.began <= row.at and trouble.ended >= row.arrived_at]
        excused = 0
        steps = max(1, round(row.delay / STEP))
        causes: dict[str, None] = {}
        for number in range(steps):
            cause = self._excuse(row.shard, row.arrived_at + number * STEP, nearby, parents)
            if cause is not None:
                causes[cause] = None
                excused += 1
        owners = dict.fromkeys(
            str(state.owner)
            for state, following in zip(self.states[row.shard], [*self.states[row.shard][1:], None], strict=True)
            if state.since <= row.at and (following is None or following.since >= row.arrived_at)
        )
        net = row.delay * (1 - excused / steps)
        return Gap(row.shard, row.delay, net, row.arrived_at, tuple(owners), tuple(causes))

    def _excuse(
        self, shard: str, moment: float, troubles: Sequence[Trouble], parents: Mapping[str, Sequence[str]]
    ) -> str | None:
        """Return the fault that kept a shard from being read: that of its owner, or of a parent's owner."""
        state = self._state(shard, moment)
        if state is not None and state.ended:
            return None
        owner = state.owner if state else None
        for trouble in troubles:
            if trouble.during(moment) and (trouble.everyone or owner in trouble.workers):
                return trouble.what
        return next(
            (cause for parent in parents.get(shard, ()) if (cause := self._excuse(parent, moment, troubles, parents))),
            None,
        )

    def _state(self, shard: str, moment: float) -> State | None:
        return next((state for state in reversed(self.states[shard]) if state.since <= moment), None)
