"""Plan how the checkpoints of an application move to another position, for whole lineages of shards.

A shard that is read again comes before its descendants. So their rows are removed, and workers create them again. A
shard that has nothing to read at the new position ends, and its children are moved in its place.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from consumer.checkpoints.plan import Move, Plan
from consumer.checkpoints.positions import Positions, Start
from consumer.checkpoints.targets import Target
from consumer.errors import ConfigurationError
from consumer.fleet.initial_position import LATEST_MARGIN
from consumer.fleet.lineage import missing
from consumer.leases import Lease
from consumer.records import LATEST, SHARD_END, TRIM_HORIZON, Shard, StreamSummary
from consumer.shard.listing import complete

Locate = Callable[[Shard], Start]
CLOSED = "it is closed"
FINISHED = "it was finished before"


def locate(target: Target, positions: Positions, summary: StreamSummary) -> Locate:
    """Return a function that finds the target in one shard.

    Times before the trim horizon become the trim horizon, so that nothing counts as trimmed unread.
    """
    horizon = summary.server_time - timedelta(seconds=summary.retention)
    now = summary.server_time - LATEST_MARGIN
    if target.sequence is not None:
        sequence, sub_sequence = target.sequence, target.sub_sequence
        return lambda shard: positions.after(shard, sequence, sub_sequence)
    if target.time is not None:
        moment = max(target.time, horizon)
        return lambda shard: positions.since(shard, moment)
    if target.latest:
        ended = Start(SHARD_END, now, now, now, CLOSED)
        return lambda shard: ended if shard.closed else Start(LATEST, now, now)
    return lambda _: Start(TRIM_HORIZON, horizon)


@dataclass
class Reset:
    """The planning of one reset. `chosen`: the shards to move; empty: all."""

    shards: Sequence[Shard]
    rows: Mapping[str, Lease]
    locate: Locate
    created_at: datetime
    chosen: Collection[str] = ()
    _moves: list[Move] = field(default_factory=list)
    _removals: list[Lease] = field(default_factory=list)

    def plan(self, title: str, replay: str = "") -> Plan:
        """Return the plan. `replay`: see `Plan`.

        Raises:
            ConfigurationError: a chosen shard is not listed, or the listing lacks shards.
        """
        self._check()
        reread: set[str] = set()
        for shard in self._affected():
            if reread.isdisjoint(shard.parents):
                if self._move(shard).position != SHARD_END:
                    reread.add(shard.shard_id)
            else:
                reread.add(shard.shard_id)
                if shard.shard_id in self.rows:
                    self._removals.append(self.rows[shard.shard_id])
        times = [move.time for move in self._moves if move.time is not None]
        self._keep_finished(reread)
        moves = [move for move in self._moves if move.needed]
        return Plan(title, moves, self._removals, min(times, default=None), replay=replay)

    def _check(self) -> None:
        listed = {shard.shard_id for shard in self.shards}
        if unknown := sorted(set(self.chosen) - listed):
            raise ConfigurationError(f"--shard {unknown[0]}: the stream does not list it; it lists {_some(listed)}")
        if not complete(self.shards):
            raise ConfigurationError("the stream's list of shards is incomplete: run the command again")

    def _affected(self) -> Iterator[Shard]:
        """Yield the chosen shards and their descendants, parents first."""
        affected: set[str] = set()
        for shard in sorted(self.shards, key=lambda shard: (shard.starting_sequence, shard.shard_id)):
            if not self.chosen or shard.shard_id in self.chosen or not affected.isdisjoint(shard.parents):
                affected.add(shard.shard_id)
                yield shard

    def _move(self, shard: Shard) -> Start:
        start, row = self.locate(shard), self.rows.get(shard.shard_id)
        finished = (row is None or row.ended) and start.position == SHARD_END  # without a row, see `_keep_finished`
        if not finished:
            self._moves.append(Move(row, self._row(shard, start), start.time, start.note))
        return start

    def _row(self, shard: Shard, start: Start) -> Lease:
        row = self.rows.get(shard.shard_id)
        return replace(
            row or Lease(shard.shard_id, parents=shard.parents, hash_range=shard.hash_range),
            checkpoint=start.position,
            children=row.children if row is not None and start.position == SHARD_END else (),
            pending=None,
            halted=None,
            started_at=start.started_at,
            stream_created_at=self.created_at,
            read_to=start.read_to,
        )

    def _keep_finished(self, reread: Collection[str]) -> None:
        """Add an ended row for each finished shard without one if only a removed row showed that it is finished.

        A KCL removes the rows of finished parents, and workers would read such a parent of a merge again.
        """
        before, removed = set(self.rows), {row.shard_id for row in self._removals}
        after = before - removed | {move.after.shard_id for move in self._moves}
        new = {shard.shard_id for shard in missing(self.shards, before)} | set(reread)
        for shard in missing(self.shards, after):
            if shard.shard_id not in new:
                self._moves.append(Move(None, self._row(shard, Start(SHARD_END)), None, FINISHED))


def _some(shard_ids: Collection[str]) -> str:
    names = sorted(shard_ids)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
