"""Run one worker with a lease table: takes, renewals, new rows, and listings of the stream."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from consumer.errors import ConfigurationError, LeaseStale
from consumer.fleet.balancer import FIRST_MOVES, create_balancer
from consumer.fleet.initial_position import LATEST_MARGIN, InitialPosition
from consumer.fleet.renewer import Renewer
from consumer.fleet.running_shards import Fleet, RunningShards
from consumer.fleet.shard_sync import ShardSync
from consumer.leases import Change, Lease, NextOwner, WorkerIdentity, Written
from consumer.leases import lease as steps
from consumer.leases.memory import MemoryLeaseTable
from consumer.records import FULL_HASH_RANGE, LATEST, SHARD_END, TRIM_HORIZON, Position, Shard
from tests.unit.clocks import FakeClock
from tests.unit.fakes import QuietStream, shard_context
from tests.unit.worlds import Unscheduled

ME, PEER = WorkerIdentity("me", "2"), WorkerIdentity("peer", "1")
DURATION = 12.0
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LAST = FULL_HASH_RANGE[1]
HALF = (LAST + 1) // 2
LEFT, RIGHT = (0, HALF - 1), (HALF, LAST)


class SlowTable(MemoryLeaseTable):
    """A table whose writes take time."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self.clock, self.takes = clock, 0.0

    def write(self, changes: Sequence[Change]) -> Sequence[Written]:
        written = super().write(changes)
        self.clock.advance(self.takes)
        return written


class Listed(QuietStream):
    """A stream with these shards that counts its listings."""

    def __init__(self) -> None:
        self.listed: list[Shard] = []
        self.listings = 0

    def shards(self) -> Sequence[Shard]:
        self.listings += 1
        return self.listed


class Bench:
    """One worker with its table and stream."""

    def __init__(self, origin: InitialPosition | None = None, **fleet: object) -> None:
        self.clock, self.stream = FakeClock(), Listed()
        self.table = SlowTable(self.clock)
        self.context = shard_context(self.clock, stream=self.stream)
        terms = Fleet(ME, DURATION, **fleet)  # type: ignore[arg-type]
        self.running_shards = RunningShards(terms, self.table, self.context, origin or InitialPosition(), Unscheduled())
        self.balancer, self.renewer = create_balancer(self.running_shards), Renewer(self.running_shards)
        self.shard_sync = ShardSync(terms, self.table, self.running_shards.rows, self.context)

    def rows(self, *rows: Lease) -> None:
        for row in rows:
            self.table.create(row)

    def row(self, shard_id: str) -> Lease:
        [row] = self.table.read([shard_id])
        return row

    def left(self) -> float:
        """Return the seconds for which everything that is held may be delivered."""
        passed = 0.0
        while True:
            try:
                for consumer in self.running_shards.running.values():
                    consumer.held_lease.ensure_held()
            except LeaseStale:
                return passed
            self.clock.advance(0.25)
            passed += 0.25


def test_a_take_counts_from_before_it_was_sent() -> None:
    """For peers it may have happened at any time since."""
    bench = Bench()
    bench.rows(Lease("a"), Lease("b"))
    bench.table.takes = 5.0
    bench.balancer.step(bench.clock())
    assert set(bench.running_shards.running) == {"a", "b"}
    assert bench.left() == DURATION - 5.0


def test_a_renewal_counts_from_before_it_was_sent() -> None:
    """One write renews all leases, and may take long."""
    bench = Bench()
    bench.rows(Lease("a"), Lease("b"))
    bench.balancer.step(bench.clock())
    bench.clock.advance(4.0)
    bench.table.takes = 3.0
    wait = bench.renewer.step(bench.clock())
    assert wait == pytest.approx(DURATION / 3 - 3.0)
    assert bench.left() == DURATION - 3.0


@pytest.mark.parametrize("step", range(3))
def test_the_number_of_moves_per_step_doubles(step: int) -> None:
    """It starts small, so that workers that start at the same time get their share."""
    bench = Bench()
    bench.rows(*(Lease(f"{number:03}") for number in range(100)))
    for _ in range(step):
        bench.clock.advance(bench.balancer.step(bench.clock()))
    before = len(bench.running_shards.running)
    bench.balancer.step(bench.clock())
    assert len(bench.running_shards.running) - before == FIRST_MOVES * 2**step


def test_the_starting_instant_is_copied_to_new_rows() -> None:
    """A shard that is found later starts where the first ones did, even if `--from` has changed."""
    bench = Bench(InitialPosition(LATEST, NOON + timedelta(days=1), None))
    bench.rows(
        Lease("a", Position.of(7), hash_range=LEFT, started_at=NOON),
        Lease("b", LATEST, hash_range=RIGHT, started_at=NOON + timedelta(hours=1)),
    )
    bench.running_shards.rows.add([Shard("new", ("b",), RIGHT)])
    assert (bench.row("new").started_at, bench.row("new").checkpoint) == (NOON, LATEST)


def test_the_children_of_a_finished_shard_start_where_the_application_did() -> None:
    """The worker that finished the parent creates their rows."""
    bench = Bench(InitialPosition(TRIM_HORIZON, None, None))
    parent = Lease("parent", Position.of(7), started_at=NOON)
    bench.rows(parent)
    children = [Shard("left", ("parent",), LEFT), Shard("right", ("parent",), RIGHT)]
    assert bench.running_shards.rows.register(parent, children) == ("left", "right")
    assert {bench.row(name).started_at for name in ("left", "right")} == {NOON}


def test_the_first_rows_start_as_this_worker_was_told() -> None:
    """All of them start at one instant."""
    made = NOON - timedelta(days=3)
    bench = Bench(InitialPosition(LATEST, NOON, made))
    bench.stream.listed = [Shard("a", (), LEFT), Shard("b", (), RIGHT)]
    bench.shard_sync.step(bench.clock())
    found = [(row.checkpoint, row.started_at, row.stream_created_at) for row in bench.table.scan()]
    assert found == [(LATEST, NOON, made)] * 2


@pytest.mark.parametrize(
    ("checkpoint", "started", "instant"),
    [
        (LATEST, None, "now"),  # a row of a KCL: a crash before the first checkpoint must not skip records
        (LATEST, NOON, NOON),
        (TRIM_HORIZON, None, None),
        (Position.of(7), None, None),
    ],
)
def test_a_taken_row_that_says_latest_gets_its_instant(
    checkpoint: Position, started: datetime | None, instant: object
) -> None:
    """For a KCL, LATEST means "from now on" each time it opens the shard."""
    bench = Bench(InitialPosition(TRIM_HORIZON, None, NOON))
    bench.rows(Lease("a", checkpoint, started_at=started))
    now = bench.context.server_time()
    bench.balancer.step(bench.clock())
    assert bench.row("a").started_at == (now - LATEST_MARGIN if instant == "now" else instant)
    assert bench.row("a").stream_created_at == NOON


@pytest.mark.parametrize(
    ("rows", "listed"),
    [
        ([Lease("a", hash_range=LEFT), Lease("b", hash_range=RIGHT)], False),
        ([Lease("root", SHARD_END), Lease("a", hash_range=LEFT), Lease("b", hash_range=RIGHT)], False),
        ([Lease("a", hash_range=LEFT)], True),
        ([Lease("a", SHARD_END, hash_range=LEFT), Lease("b", hash_range=RIGHT)], True),
    ],
)
def test_the_stream_is_listed_again_when_the_rows_leave_a_hole(rows: Sequence[Lease], listed: bool) -> None:
    """Otherwise it is listed once an hour. A shard covered by its descendants is not a hole."""
    bench = Bench()
    bench.stream.listed = [Shard("root", closed=True), Shard("a", ("root",), LEFT), Shard("b", ("root",), RIGHT)]
    bench.rows(Lease("all"))
    bench.shard_sync.step(bench.clock())
    bench.table._rows.clear()
    bench.rows(*rows)
    before = bench.stream.listings
    bench.clock.advance(200.0)
    bench.shard_sync.step(bench.clock())
    assert bench.stream.listings - before == listed


def test_the_row_of_a_finished_shard_stays_until_its_children_have_moved_on() -> None:
    """It also stays while the stream lists the shard, because its row holds the children back."""
    bench = Bench()
    bench.stream.listed = [Shard("a", ("root",), LEFT), Shard("b", ("root",), RIGHT)]
    child = Lease("a", parents=("root",), hash_range=LEFT)
    bench.rows(Lease("root", SHARD_END), child, Lease("b", Position.of(3), ("root",), hash_range=RIGHT))
    for _ in range(2):
        bench.shard_sync.step(bench.clock())
    assert bench.row("root").ended
    bench.table._rows["a"] = replace(child, checkpoint=Position.of(5))
    bench.clock.advance(4000.0)
    for _ in range(3):
        bench.clock.advance(bench.shard_sync.step(bench.clock()))
    assert not bench.table.read(["root"])


def renewed_by(row: Lease, owner: WorkerIdentity) -> Lease:
    return steps.renewed(row, owner, None)


def test_a_second_live_process_with_our_id_ends_this_one() -> None:
    """This one has just started, and sees a row of its id change."""
    bench = Bench()
    first = WorkerIdentity("me", "1")
    bench.rows(steps.taken(Lease("a"), first))

    def take_part() -> None:
        for _ in range(20):
            bench.table._rows["a"] = renewed_by(bench.row("a"), first)
            bench.clock.advance(bench.balancer.step(bench.clock()))

    with pytest.raises(ConfigurationError, match="--worker-id"):
        take_part()
    assert bench.row("a").held_by(first)


def test_rows_of_an_old_process_with_our_id_are_taken_after_one_and_a_half_renewals() -> None:
    """They do not change, so that process is dead, although its lease has not expired."""
    bench = Bench()
    bench.rows(steps.taken(Lease("a"), WorkerIdentity("me", "1")))
    began = bench.clock()
    while not bench.running_shards.running:
        bench.clock.advance(bench.balancer.step(bench.clock()))
    assert 0.5 * DURATION <= bench.clock() - began < DURATION


def test_our_own_pause_makes_no_peer_look_dead() -> None:
    """The first scan after it finds unchanged rows, and the second one shows which peers live."""
    bench = Bench()
    row = steps.taken(Lease("a"), PEER)
    bench.rows(row)
    for _ in range(8):
        bench.clock.advance(bench.balancer.step(bench.clock()))
        row = renewed_by(row, PEER)
        bench.table._rows["a"] = row
    bench.balancer.step(bench.clock())
    bench.clock.advance(3600.0)
    bench.balancer.step(bench.clock())
    assert not bench.running_shards.running


@pytest.mark.parametrize(("most_leases", "taken"), [(3, 3), (2, 2)])
def test_leases_that_a_full_peer_does_not_take_are_taken_up_to_the_maximum(most_leases: int, taken: int) -> None:
    """The peer has half a lease of time, because it is below its share."""
    bench = Bench(most_leases=most_leases)
    full = steps.taken(Lease("full"), PEER)
    bench.rows(full, Lease("a"), Lease("b"), Lease("c"))
    began = bench.clock()
    seen: list[tuple[float, int]] = []
    while bench.clock() - began < DURATION:
        bench.clock.advance(bench.balancer.step(bench.clock()))
        full = renewed_by(full, PEER)
        bench.table._rows["full"] = full
        bench.renewer.step(bench.clock())
        seen.append((bench.clock() - began, len(bench.running_shards.running)))
    assert {count for at, count in seen if at < DURATION / 2} == {2}
    assert seen[-1][1] == taken


def test_a_request_is_written_once_and_the_offered_lease_is_taken() -> None:
    """It requests one of a peer's three leases."""
    bench = Bench()
    held = [steps.taken(Lease(name), PEER) for name in ("a", "b", "c")]
    bench.rows(*held)
    bench.balancer.step(bench.clock())
    [requested] = [row for row in bench.table.scan() if row.wanted_by == "me"]
    bench.table.write([Change(requested, steps.handed_off(requested, PEER, NextOwner("me")))])
    bench.clock.advance(1.0)
    bench.balancer.step(bench.clock())
    assert set(bench.running_shards.running) == {requested.shard_id}
