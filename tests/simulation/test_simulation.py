"""Run simulated fleets: their guarantees hold, and the simulation detects planted bugs."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from consumer.errors import SinkUnavailable
from consumer.fleet import assignment, lease_taker, lineage
from consumer.fleet import shard_sync as discovery
from consumer.leases import Change, Lease, WorkerIdentity, Written
from consumer.leases.lease import taken
from consumer.leases.memory import MemoryLeaseTable
from consumer.pipeline.batching import Batch
from consumer.pipeline.delivery import Delivery
from consumer.records import Position, PositionKind
from consumer.shard.batch_assembly import BatchAssembly
from tests.simulation.__main__ import failing
from tests.simulation.run import simulate

SEEDS = 500
# Seeds that once failed, while the program or the simulation was being built.
KEPT = [202, 358, 453, 502, 529, 614, 845, 1006, 1139, 1141, 1515, 1582, 2157, 2693]

Plant = Callable[[pytest.MonkeyPatch], None]


@pytest.mark.no_cover  # the processes that run the seeds are not measured, and tracing makes them slow
def test_a_fleet_keeps_its_guarantees_under_faults() -> None:
    """Nothing is lost, order is kept, parents come first, repeats have a cause, and leases stop moving."""
    broken = failing(range(SEEDS))
    assert broken == {}, "replay with: " + ", ".join(f"make simulate SEED={seed}" for seed in broken)


@pytest.mark.parametrize("seed", KEPT)
def test_a_seed_that_once_failed_passes(seed: int) -> None:
    """Every seed that ever failed is kept."""
    assert simulate(seed) == []


def test_a_seed_always_gives_the_same_run(capsys: pytest.CaptureFixture[str]) -> None:
    """A failing seed can be replayed."""
    runs = []
    for _ in range(2):
        simulate(7, verbose=True)
        runs.append(capsys.readouterr().out)
    assert runs[0] == runs[1]
    assert "lease.taken" in runs[0]


# Plants: each wraps the real code and changes one decision, so that only this decision is wrong.


def checkpoint_before_sink(patch: pytest.MonkeyPatch) -> None:
    """Checkpoint before the delivery."""
    deliver = Delivery.deliver

    def early(self: Delivery, batch: Batch) -> None:
        self._checkpointer.checkpoint(batch.end)
        deliver(self, batch)

    patch.setattr(Delivery, "deliver", early)


def unfenced_writes(patch: pytest.MonkeyPatch) -> None:
    """Let the table accept every write, without comparing the row."""
    swap = MemoryLeaseTable._swap

    def unfenced(self: MemoryLeaseTable, change: Change) -> Written:
        return swap(self, Change(self._rows.get(change.before.shard_id, change.before), change.after))

    patch.setattr(MemoryLeaseTable, "_swap", unfenced)


def token_ignored_by_the_table(patch: pytest.MonkeyPatch) -> None:
    """Let the table compare only the owner, so that a paused process may write after a new one with its id."""
    swap = MemoryLeaseTable._swap

    def by_name(self: MemoryLeaseTable, change: Change) -> Written:
        row = self._rows.get(change.before.shard_id, change.before)
        return swap(self, Change(row, change.after) if row.owner == change.before.owner else change)

    patch.setattr(MemoryLeaseTable, "_swap", by_name)


def token_ignored_by_the_worker(patch: pytest.MonkeyPatch) -> None:
    """Let a worker repeat a rejected write on a row that another process with its id wrote."""
    held_by = Lease.held_by

    def by_name(self: Lease, worker: WorkerIdentity) -> bool:
        return held_by(self, WorkerIdentity(worker.worker_id, self.token.start if self.token else ""))

    patch.setattr(Lease, "held_by", by_name)


def moves_that_make_the_fleet_less_even(patch: pytest.MonkeyPatch) -> None:
    """Request a lease although the move makes the two workers less even."""
    patch.setattr(assignment, "SLACK", -1.5)


def children_not_held(patch: pytest.MonkeyPatch) -> None:
    """Read a child before its parents have ended."""
    runnable = lineage.runnable

    def parentless(rows: Sequence[Lease]) -> list[Lease]:
        free = {row.shard_id for row in runnable([replace(row, parents=()) for row in rows])}
        return [row for row in rows if row.shard_id in free]

    patch.setattr(assignment, "runnable", parentless)


def buffer_dropped_on_sink_failure(patch: pytest.MonkeyPatch) -> None:
    """Count a batch as written although the sink failed."""
    write = Delivery._write

    def drop(self: Delivery, batch: Batch) -> None:
        try:
            write(self, batch)
        except SinkUnavailable:
            batch.work.popleft()

    patch.setattr(Delivery, "_write", drop)


def shard_end_without_its_last_buffer(patch: pytest.MonkeyPatch) -> None:
    """End a shard without delivering its last buffer."""
    due = BatchAssembly.is_due

    def forget(self: BatchAssembly, now: float, draining: bool, halted: bool = False) -> bool:
        over = self._reader.ended and not self._reader.backlog
        return due(self, now, draining, halted) and not over

    patch.setattr(BatchAssembly, "is_due", forget)


def pending_end_ignored_by_the_next_owner(patch: pytest.MonkeyPatch) -> None:
    """Let the next owner end its first batch anywhere, although one was prepared."""

    def forgetful(lease: Lease, worker: WorkerIdentity) -> Lease:
        return replace(taken(lease, worker), pending=None)

    patch.setattr(lease_taker, "taken", forgetful)


def finished_parent_read_again(patch: pytest.MonkeyPatch) -> None:
    """Delete the row of an ended shard that is still listed, and create it again although its children have rows."""
    tombstones, ancestors = lineage.tombstones, lineage._ancestors
    patch.setattr(discovery, "tombstones", lambda rows, _: tombstones(rows, ()))
    patch.setattr(lineage, "_ancestors", lambda listed, _: ancestors(listed, ()))


def checkpointed_record_read_again(patch: pytest.MonkeyPatch) -> None:
    """Open a shard one record too early."""
    start = Lease.__dict__["start"].fget

    def early(self: Lease) -> Position:
        at: Position = start(self)
        return Position.of(at.sequence - 1) if at.kind is PositionKind.SEQUENCE else at

    patch.setattr(Lease, "start", property(early))


LOST, TWICE, TWO_OWNERS, UNFENCED = "lost: ", " more than once", "two owners: ", "unfenced: "


@pytest.mark.parametrize(
    ("plant", "reason"),
    [
        (checkpoint_before_sink, LOST),
        (unfenced_writes, UNFENCED),
        (token_ignored_by_the_table, UNFENCED),
        (token_ignored_by_the_worker, TWO_OWNERS),
        (moves_that_make_the_fleet_less_even, "leases still move"),
        (children_not_held, "before its parent"),
        (buffer_dropped_on_sink_failure, LOST),
        (shard_end_without_its_last_buffer, LOST),
        (pending_end_ignored_by_the_next_owner, TWICE),
        (finished_parent_read_again, "is read again"),
        (checkpointed_record_read_again, TWICE),
    ],
)
def test_the_simulation_catches_a_planted_bug(plant: Plant, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each bug is detected within twenty fleets, by its effect and not by a crash."""
    plant(monkeypatch)
    found = []
    for seed in range(20):
        found = simulate(seed)
        assert not [why for why in found if "unforeseen" in why], seed
        if any(reason in why for why in found):
            return
    pytest.fail(f"no fleet broke a guarantee with {reason!r}")


def test_unfenced_writes_are_detected_in_every_fleet(monkeypatch: pytest.MonkeyPatch) -> None:
    """In each of twenty fleets some worker overwrites the change of another one."""
    unfenced_writes(monkeypatch)
    undetected = [seed for seed in range(20) if not any(UNFENCED in why for why in simulate(seed))]
    assert not undetected


def test_an_unforeseen_error_is_a_violation_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is never taken for one of the guarantees."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Delivery, "deliver", broken)
    assert any("unforeseen: ZeroDivisionError at test_simulation.py" in why for why in simulate(1))
