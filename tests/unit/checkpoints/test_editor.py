"""Test that a plan is carried out with fenced writes, and that live owners are noticed before."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from consumer.checkpoints.targets import target_of
from consumer.errors import ConfigurationError, LeaseTableUnavailable
from consumer.leases import Change, Lease, PartlyWritten, Token, WorkerIdentity, Written
from consumer.leases.lease import taken
from consumer.leases.memory import MemoryLeaseTable
from consumer.records import TRIM_HORIZON, Position
from tests.unit.checkpoints.worlds import ME, World, free

PEER = WorkerIdentity("peer", "p1")


class Interrupted(MemoryLeaseTable):
    """A table that runs something before one call."""

    def __init__(self) -> None:
        super().__init__()
        self.before: dict[str, Callable[[], None]] = {}

    def _run(self, call: str) -> None:
        self.before.pop(call, lambda: None)()

    def write(self, changes: Sequence[Change]) -> Sequence[Written]:
        self._run("write")
        return super().write(changes)

    def rewrite(self, changes: Sequence[Change]) -> Sequence[Written]:
        self._run("rewrite")
        return super().rewrite(changes)

    def remove(self, lease: Lease) -> bool:
        self._run("remove")
        return super().remove(lease)


@pytest.fixture
def table() -> Interrupted:
    return Interrupted()


@pytest.fixture
def world(table: Interrupted) -> World:
    """A split shard whose children are read."""
    world = World(table=table)
    left, right = (shard.shard_id for shard in world.stream.shards())
    world.put(left, 1)
    for child in world.stream.split(left):
        world.row(child, Position.of(world.put(child, 2)), 2)
    world.row(left, minutes=1)
    world.row(right, TRIM_HORIZON)
    return world


def owned(world: World, shard_id: str, worker: WorkerIdentity = PEER) -> None:
    row = world.rows[shard_id]
    world.table.write([Change(row, taken(row, worker))])


def shard_ids(world: World) -> list[str]:
    return [shard.shard_id for shard in world.stream.shards()]


def test_a_live_owner_is_noticed_and_nothing_is_changed(world: World) -> None:
    """Its counter moves within a lease."""
    one = shard_ids(world)[2]
    owned(world, one)
    before = world.rows
    wait = world.clock.advance

    def renew(seconds: float) -> None:
        wait(seconds)
        if world.clock.now % 3 < 1:
            world.renew(one, PEER)

    world.clock.advance = renew  # type: ignore[method-assign]
    with pytest.raises(ConfigurationError, match=f"worker peer is live and owns {one}: stop the workers"):
        world.reset("trim-horizon")
    assert [row.checkpoint for row in world.rows.values()] == [row.checkpoint for row in before.values()]
    assert world.rows[one].owner == "peer"


def test_a_dead_owner_is_replaced_after_a_lease_and_a_margin(world: World) -> None:
    """A worker that was killed leaves its name on the row."""
    owned(world, shard_ids(world)[2])
    began = world.clock.now
    world.reset("trim-horizon")
    assert 15 <= world.clock.now - began < 20
    assert free(list(world.rows.values()))
    assert world.told == ["1 leases have an owner: watching for 15 s whether one is renewed"]


def test_an_owner_of_another_lineage_may_live(world: World) -> None:
    """Its shards are not touched, so nothing is watched."""
    _, right, one, _ = shard_ids(world)
    owned(world, right)
    world.reset("trim-horizon", one)
    assert not world.told
    assert world.rows[right].owner == "peer"


def test_a_released_lease_is_not_waited_for(world: World) -> None:
    """A worker that ends in order releases its leases."""
    one = shard_ids(world)[2]
    owned(world, one)

    def release(seconds: float) -> None:
        world.clock.now += seconds
        row = world.rows[one]
        world.table.write([Change(row, replace(row, owner=None))])

    world.clock.advance = release  # type: ignore[method-assign]
    began = world.clock.now
    world.reset("latest")
    assert world.clock.now - began < 2


@pytest.mark.parametrize("call", ["write", "rewrite", "remove"])
def test_a_worker_that_starts_meanwhile_stops_the_command(world: World, table: Interrupted, call: str) -> None:
    """Its take moves the counter, so that the next fenced write fails. The other leases are released."""
    left, _, _, two = shard_ids(world)
    victim = two if call == "remove" else left
    plan = world.checkpoints.plan_reset(target_of("trim-horizon"), ())

    def take() -> None:
        row = world.rows[victim]
        MemoryLeaseTable.write(table, [Change(row, taken(row, PEER))])

    table.before[call] = take
    with pytest.raises(ConfigurationError, match=f"the lease of {victim} was changed"):
        world.checkpoints.carry_out(plan)
    assert world.rows[victim].owner == "peer"
    assert free([row for shard_id, row in world.rows.items() if shard_id != victim])


def test_no_checkpoint_moves_unless_every_lease_is_taken(world: World, table: Interrupted) -> None:
    """Half a reset would read children before their parents."""
    before = {shard_id: row.checkpoint for shard_id, row in world.rows.items()}
    plan = world.checkpoints.plan_reset(target_of("trim-horizon"), ())
    owned(world, shard_ids(world)[3])
    with pytest.raises(ConfigurationError, match="changed by peer meanwhile: stop the workers"):
        world.checkpoints.carry_out(plan)
    assert {shard_id: row.checkpoint for shard_id, row in world.rows.items()} == before


def test_a_parent_is_reopened_before_its_descendants_are_removed(world: World, table: Interrupted) -> None:
    """In the other order a worker could create their rows again meanwhile."""
    left, *_ = shard_ids(world)
    seen: list[bool] = []
    table.before["remove"] = lambda: seen.append(world.rows[left].ended)
    world.reset("trim-horizon")
    assert seen == [False]


@pytest.mark.parametrize("call", ["write", "rewrite", "remove"])
@pytest.mark.parametrize("arrives", [True, False], ids=["lost response", "lost request"])
def test_a_call_without_a_response_is_repeated(
    world: World, monkeypatch: pytest.MonkeyPatch, call: str, arrives: bool
) -> None:
    """Our token on the row shows whether the first attempt arrived."""
    real, failures = getattr(world.table, call), [1]

    def fails(argument: object) -> object:
        if failures:
            failures.pop()
            if arrives:
                real(argument)
            raise LeaseTableUnavailable("no response")
        return real(argument)

    monkeypatch.setattr(world.table, call, fails)
    world.reset("trim-horizon")
    assert {row.start for row in world.rows.values()} == {TRIM_HORIZON}
    assert free(list(world.rows.values()))


def test_a_partly_known_result_is_completed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is unknown is repeated."""
    real, calls = world.table.write, []

    def partly(changes: Sequence[Change]) -> Sequence[Written]:
        calls.append(len(changes))
        results = list(real(changes))
        if len(calls) == 1:
            raise PartlyWritten(LeaseTableUnavailable("?"), [results[0], *[None] * (len(results) - 1)])
        return results

    monkeypatch.setattr(world.table, "write", partly)
    world.reset("trim-horizon")
    assert calls[:2] == [4, 3]
    assert free(list(world.rows.values()))


def test_a_table_that_stays_away_ends_the_command(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what to do, and the rows are as they were."""
    plan = world.checkpoints.plan_reset(target_of("trim-horizon"), ())

    def fails(changes: Sequence[Change]) -> Sequence[Written]:
        if changes:
            raise LeaseTableUnavailable("the table does not respond")
        return []

    monkeypatch.setattr(world.table, "write", fails)
    with pytest.raises(ConfigurationError, match="does not respond: run the command again"):
        world.checkpoints.carry_out(plan)


def test_leases_are_renewed_while_a_large_plan_is_carried_out(world: World, table: Interrupted) -> None:
    """Otherwise workers would take them after a lease, in the middle of the change."""
    for number in range(100, 160):
        table.create(Lease(f"shardId-{number:012}", Position.of(5)))
    document = world.checkpoints.export()
    for item in document.checkpoints:
        item.checkpoint = "6.0" if item.checkpoint == "5.0" else item.checkpoint
    plan = world.checkpoints.plan_import(document)
    counters: list[int] = []
    real = table.rewrite

    def slow(changes: Sequence[Change]) -> Sequence[Written]:
        counters.append(world.rows["shardId-000000000159"].counter)
        world.clock.advance(4)
        return real(changes)

    table.rewrite = slow  # type: ignore[method-assign]
    world.checkpoints.carry_out(plan)
    assert counters == [1, 2, 3]
    assert world.rows["shardId-000000000159"].checkpoint == Position.of(6)


def test_the_owner_of_the_change_is_on_the_row_meanwhile(world: World, table: Interrupted) -> None:
    """A worker that looks waits until the lease expires."""
    owners: set[str | None] = set()
    table.before["rewrite"] = lambda: owners.update(row.owner for row in world.rows.values())
    world.reset("trim-horizon")
    assert owners == {ME.worker_id}
    assert all(row.token is not None and row.token.start == ME.start for row in world.rows.values())
    assert all(row.token == Token(*ME, row.counter) for row in world.rows.values())
