"""Whatever happens to a fleet, its promises hold; and the simulation would see it if they did not."""

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
# Seeds on which a run once failed, while the engine or the simulation was being built.
KEPT = [202, 358, 453, 502, 529, 614, 845, 1006, 1139, 1141, 1515, 1582, 2157, 2693]

Plant = Callable[[pytest.MonkeyPatch], None]


def test_a_fleet_keeps_its_promises_whatever_happens() -> None:
    """Nothing lost, order kept, parents first, one owner, nothing twice without a cause; then leases come to rest."""
    broken = failing(range(SEEDS))
    assert broken == {}, "replay with: " + ", ".join(f"make simulate SEED={seed}" for seed in broken)


@pytest.mark.parametrize("seed", KEPT)
def test_a_seed_that_once_failed_stays_mended(seed: int) -> None:
    """A seed that ever failed is kept."""
    assert simulate(seed) == []


def test_a_seed_always_tells_the_same_story(capsys: pytest.CaptureFixture[str]) -> None:
    """A failing seed can be replayed."""
    stories = []
    for _ in range(2):
        simulate(7, verbose=True)
        stories.append(capsys.readouterr().out)
    assert stories[0] == stories[1]
    assert "lease.taken" in stories[0]


# Plants: each wraps the real code and changes one decision of it, so that nothing but that decision is wrong.


def checkpoint_before_sink(patch: pytest.MonkeyPatch) -> None:
    """The checkpoint moves first."""
    deliver = Delivery.deliver

    def early(self: Delivery, batch: Batch) -> None:
        self._checkpointer.checkpoint(batch.end)
        deliver(self, batch)

    patch.setattr(Delivery, "deliver", early)


def unfenced_writes(patch: pytest.MonkeyPatch) -> None:
    """The table compares nothing: it takes for seen whatever stands there."""
    swap = MemoryLeaseTable._swap

    def unfenced(self: MemoryLeaseTable, change: Change) -> Written:
        return swap(self, Change(self._rows.get(change.before.shard_id, change.before), change.after))

    patch.setattr(MemoryLeaseTable, "_swap", unfenced)


def token_ignored_by_the_table(patch: pytest.MonkeyPatch) -> None:
    """A former life of a worker, paused and overtaken under the same id, passes for the new one."""
    swap = MemoryLeaseTable._swap

    def by_name(self: MemoryLeaseTable, change: Change) -> Written:
        row = self._rows.get(change.before.shard_id, change.before)
        return swap(self, Change(row, change.after) if row.owner == change.before.owner else change)

    patch.setattr(MemoryLeaseTable, "_swap", by_name)


def token_ignored_by_the_worker(patch: pytest.MonkeyPatch) -> None:
    """A refused write is made again over whatever row names this worker, though another life of it wrote that."""
    held_by = Lease.held_by

    def by_name(self: Lease, worker: WorkerIdentity) -> bool:
        return held_by(self, WorkerIdentity(worker.worker_id, self.token.start if self.token else ""))

    patch.setattr(Lease, "held_by", by_name)


def leases_like_hot_potatoes(patch: pytest.MonkeyPatch) -> None:
    """A lease is asked for although that makes the two less even."""
    patch.setattr(assignment, "SLACK", -1.5)


def children_not_held(patch: pytest.MonkeyPatch) -> None:
    """A child is read while its parents are not finished."""
    runnable = lineage.runnable

    def parentless(rows: Sequence[Lease]) -> list[Lease]:
        free = {row.shard_id for row in runnable([replace(row, parents=()) for row in rows])}
        return [row for row in rows if row.shard_id in free]

    patch.setattr(assignment, "runnable", parentless)


def buffer_dropped_on_sink_failure(patch: pytest.MonkeyPatch) -> None:
    """A batch that could not be written passes for one that was."""
    write = Delivery._write

    def drop(self: Delivery, batch: Batch) -> None:
        try:
            write(self, batch)
        except SinkUnavailable:
            batch.work.popleft()

    patch.setattr(Delivery, "_write", drop)


def shard_end_without_its_last_buffer(patch: pytest.MonkeyPatch) -> None:
    """A shard's end is not waited for by what it has not delivered yet."""
    due = BatchAssembly.is_due

    def forget(self: BatchAssembly, now: float, draining: bool) -> bool:
        over = self._reader.ended and not self._reader.backlog
        return due(self, now, draining) and not over

    patch.setattr(BatchAssembly, "is_due", forget)


def pending_end_ignored_by_the_next_owner(patch: pytest.MonkeyPatch) -> None:
    """Whoever takes a lease ends its first batch where it likes."""

    def forgetful(lease: Lease, worker: WorkerIdentity) -> Lease:
        return replace(taken(lease, worker), pending=None)

    patch.setattr(lease_taker, "taken", forgetful)


def finished_parent_read_again(patch: pytest.MonkeyPatch) -> None:
    """A tombstone goes though its shard is listed, and the shard is found anew though its children have rows."""
    tombstones, ancestors = lineage.tombstones, lineage._ancestors
    patch.setattr(discovery, "tombstones", lambda rows, _: tombstones(rows, ()))
    patch.setattr(lineage, "_ancestors", lambda listed, _: ancestors(listed, ()))


def checkpointed_record_read_again(patch: pytest.MonkeyPatch) -> None:
    """A shard is opened one place too early."""
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
        (leases_like_hot_potatoes, "leases still move"),
        (children_not_held, "before its parent"),
        (buffer_dropped_on_sink_failure, LOST),
        (shard_end_without_its_last_buffer, LOST),
        (pending_end_ignored_by_the_next_owner, TWICE),
        (finished_parent_read_again, "is read again"),
        (checkpointed_record_read_again, TWICE),
    ],
)
def test_the_simulation_catches_a_planted_bug(plant: Plant, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the bugs that matter most is seen within twenty fleets, for what it does and not for a crash."""
    plant(monkeypatch)
    found = []
    for seed in range(20):
        found = simulate(seed)
        assert not [why for why in found if "unforeseen" in why], seed
        if any(reason in why for why in found):
            return
    pytest.fail(f"no fleet broke it with {reason!r}")


def test_writes_without_a_fence_are_seen_in_every_fleet(monkeypatch: pytest.MonkeyPatch) -> None:
    """In each of twenty fleets some worker writes over what another has made of a lease."""
    unfenced_writes(monkeypatch)
    blind = [seed for seed in range(20) if not any(UNFENCED in why for why in simulate(seed))]
    assert not blind


def test_a_defect_is_told_as_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that raises what nobody foresaw is a finding of its own, with its place."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Delivery, "deliver", broken)
    assert any("unforeseen: ZeroDivisionError at test_simulation.py" in why for why in simulate(1))
