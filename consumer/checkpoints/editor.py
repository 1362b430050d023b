"""Carry out a plan with fenced writes: take every lease, move and remove rows, then release the leases.

No shard is read meanwhile, because its lease is taken. If the command is killed, its leases expire like those of a
worker; running it again completes the plan.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from consumer.checkpoints.patience import RETRIES, TRIES, patiently
from consumer.checkpoints.plan import FIELDS, Move, Plan
from consumer.errors import ConfigurationError, LeaseTableUnavailable
from consumer.leases import Change, EditableLeaseTable, Lease, PartlyWritten, Token, WorkerIdentity, Written
from consumer.leases.lease import handed_off, renewed, taken
from consumer.runtime.clock import Clock

AT_ONCE = 25  # changes between two checks whether the leases have to be renewed
RENEWED = 3  # times per lease duration
AGAIN = "stop the workers of this application, then run the command again"

Write = Callable[[Sequence[Change]], Sequence[Written]]
Part = TypeVar("Part")


@dataclass
class Editor:
    """The holder of the leases that a plan changes. `duration`: seconds until its leases expire."""

    table: EditableLeaseTable
    me: WorkerIdentity
    duration: float
    clock: Clock = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _held: dict[str, Lease] = field(default_factory=dict)
    _renewed_at: float = 0.0

    def carry_out(self, plan: Plan) -> None:
        """Change the table as planned.

        Raises:
            ConfigurationError: a row has changed since it was read, or the table fails. No checkpoint is changed if
                the leases could not be taken.
        """
        try:
            self._take(plan.rows)
            for move in plan.moves:
                if move.before is None:
                    self._create(move)
            self._in_parts([move for move in plan.moves if move.before is not None], self._rewrite)
            self._in_parts(plan.removals, self._remove)
        finally:
            self._release()

    def _take(self, rows: Sequence[Lease]) -> None:
        self._renewed_at = self.clock()
        self._make([Change(row, taken(row, self.me)) for row in rows], self.table.write)

    def _create(self, move: Move) -> None:
        token = Token(*self.me, 0)
        row = replace(move.after, owner=self.me.worker_id, checkpoint_owner=None, counter=0, switches=0, token=token)
        patiently(lambda: self.table.create(row), self.sleep)
        found = patiently(lambda: self.table.read([row.shard_id]), self.sleep)
        if not found or not _same(found[0], row):
            raise _changed(row.shard_id, found[0] if found else None)
        self._held[row.shard_id] = found[0]

    def _rewrite(self, moves: Sequence[Move]) -> None:
        self._make(
            [Change(row, self._moved(row, move.after)) for move, row in self._with_rows(moves)], self.table.rewrite
        )

    def _with_rows(self, moves: Iterable[Move]) -> Iterable[tuple[Move, Lease]]:
        return [(move, self._held[move.after.shard_id]) for move in moves]

    def _moved(self, row: Lease, goal: Lease) -> Lease:
        fields = {name: getattr(goal, name) for name in FIELDS}
        return replace(renewed(row, self.me, None, row.throughput), switches=0, **fields)

    def _remove(self, rows: Sequence[Lease]) -> None:
        for row in rows:
            held = self._held[row.shard_id]
            if not patiently(lambda held=held: self.table.remove(held), self.sleep):  # type: ignore[misc]
                raise _changed(row.shard_id, None)
            del self._held[row.shard_id]

    def _release(self) -> None:
        """Release the leases, so that workers need not wait until they expire."""
        changes = [Change(row, handed_off(row, self.me, None)) for row in self._held.values()]
        self._held = {}
        self._make(changes, self.table.write)

    def _in_parts(self, parts: Sequence[Part], do: Callable[[Sequence[Part]], None]) -> None:
        for first in range(0, len(parts), AT_ONCE):
            if self.clock() - self._renewed_at > self.duration / RENEWED:
                self._renew()
            do(parts[first : first + AT_ONCE])

    def _renew(self) -> None:
        self._renewed_at = self.clock()
        self._make(
            [Change(row, renewed(row, self.me, None, row.throughput)) for row in self._held.values()], self.table.write
        )

    def _make(self, changes: Sequence[Change], write: Write) -> None:
        """Make all changes, and repeat those with an unknown result: a repeated write finds our token on the row.

        Raises:
            ConfigurationError: another program changed a row, or the table fails.
        """
        left, lost = list(changes), None
        for attempt in range(TRIES):
            results, error = _results(write, left)
            for change, result in zip(left, results, strict=True):
                if result is not None and (result.done or _same(result.row, change.after)):
                    self._held[change.after.shard_id] = result.row or change.after
                elif result is not None:
                    lost = lost or _changed(change.after.shard_id, result.row)
            left = [change for change, result in zip(left, results, strict=True) if result is None]
            if lost is not None:
                raise lost
            if not left:
                return
            self.sleep(RETRIES.longest(attempt))
        raise ConfigurationError(f"{error}: run the command again")


def _results(write: Write, changes: Sequence[Change]) -> tuple[Sequence[Written | None], Exception | None]:
    """Make changes; return the result of each, None if unknown, and the error."""
    if not changes:
        return [], None
    try:
        return write(changes), None
    except PartlyWritten as error:
        return error.results, error
    except LeaseTableUnavailable as error:
        return [None] * len(changes), error


def _same(row: Lease | None, after: Lease) -> bool:
    return row is not None and (row.counter, row.token) == (after.counter, after.token)


def _changed(shard_id: str, row: Lease | None) -> ConfigurationError:
    by = f" by {row.owner}" if row is not None and row.owner is not None else ""
    return ConfigurationError(f"the lease of {shard_id} was changed{by} meanwhile: {AGAIN}")
