"""How long a shard went unread, and how much of that the storm itself excuses."""

import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from consumer.leases import Lease
from tests.chaos.sinks import Seen

STEP = 0.1  # seconds between the instants at which an excuse is looked for
LOOKED_AT = 10  # the slowest rows of each shard: those in between shared their wait


@dataclass
class Trouble:
    """What was done to some workers, and from when to when it kept them from reading. Epoch seconds."""

    what: str
    workers: frozenset[str]
    everyone: bool
    began: float
    ended: float = float("inf")

    def during(self, moment: float) -> bool:
        return self.began <= moment <= self.ended


class State(NamedTuple):
    """Whose a shard was, from some instant on."""

    since: float
    owner: str | None
    ended: bool


class Gap(NamedTuple):
    """How long a row was waited for, and how much of that nothing excuses."""

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
            f" {', '.join(self.troubles) or 'nothing'}; read by {', '.join(self.owners) or 'nobody'}"
        )


@dataclass
class History:
    """Who held what, and what went wrong for whom."""

    troubles: list[Trouble] = field(default_factory=list)
    states: dict[str, list[State]] = field(default_factory=lambda: defaultdict(list))

    def suffered(
        self, what: str, workers: Collection[str], everyone: bool = False, lasts: float | None = None
    ) -> Trouble:
        """Something begins to go wrong."""
        now = time.time()
        ends = float("inf") if lasts is None else now + lasts
        trouble = Trouble(what, frozenset(workers), everyone, now, ends)
        self.troubles.append(trouble)
        return trouble

    def all_is_well(self) -> None:
        """Nothing goes wrong any more."""
        for trouble in self.troubles:
            trouble.ended = min(trouble.ended, time.time())

    def saw(self, lease: Lease) -> None:
        """Take in a row of the lease table."""
        known = self.states[lease.shard_id]
        if not known or known[-1][1:] != (lease.owner, lease.ended):
            known.append(State(time.time(), lease.owner, lease.ended))

    def gaps(self, rows: Iterable[Seen], parents: Mapping[str, Sequence[str]]) -> list[Gap]:
        """For each shard the gap of which the least is excused; worst first."""
        shards: dict[str, list[Seen]] = defaultdict(list)
        for row in rows:
            shards[row.shard].append(row)
        found = []
        for held in shards.values():
            slowest = sorted(held, key=lambda row: -row.delay)[:LOOKED_AT]
            found.append(max((self._gap(row, parents) for row in slowest), key=lambda gap: gap.net))
        return sorted(found, key=lambda gap: -gap.net)

    def longest(self, rows: Sequence[Seen], parents: Mapping[str, Sequence[str]]) -> Gap | None:
        """The row that was waited for longest, whatever excuses it."""
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
        """What kept a shard from being read at that instant: its owner's trouble, or that of a parent's owner."""
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
