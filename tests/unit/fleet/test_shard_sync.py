"""Turn listings of the stream into rows, and do nothing when a listing may lack shards."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from consumer.errors import ConfigurationError, IncompleteResponse, StreamUnavailable
from consumer.fleet.balancer import create_balancer
from consumer.fleet.initial_position import InitialPosition
from consumer.fleet.running_shards import Fleet, RunningShards
from consumer.fleet.shard_sync import LISTING_INTERVAL, RETRIES, ShardSync
from consumer.leases import Lease, WorkerIdentity
from consumer.leases.memory import MemoryLeaseTable
from consumer.records import SHARD_END, Position, Shard
from consumer.shard.listing import complete, doubtful
from consumer.streams.memory import MemoryStream
from tests.unit.clocks import FakeClock
from tests.unit.worlds import NOON, Log, Unscheduled, shard_context

Listing = Sequence[Shard]
ME = WorkerIdentity("me", "1")


class Shown(MemoryStream):
    """A stream that changes some listings."""

    def __init__(self) -> None:
        super().__init__("calls", 2)
        self.next: list[Callable[[Listing], Listing]] = []
        self.listings = 0

    def shards(self) -> Listing:
        self.listings += 1
        shards = super().shards()
        return self.next.pop(0)(shards) if self.next else shards


class Bench:
    """A worker that lists shards and reads none."""

    def __init__(self, *rows: Lease, until: bool = False) -> None:
        self.clock, self.log, self.stream, self.table = FakeClock(), Log(), Shown(), MemoryLeaseTable()
        for row in rows:
            self.table.create(row)
        world = shard_context(self.stream, self.clock, log=self.log)
        fleet = Fleet(ME, until=NOON if until else None)
        self.running_shards = RunningShards(fleet, self.table, world, InitialPosition(), Unscheduled())
        self.shard_sync = ShardSync(fleet, self.table, self.running_shards.rows, world)

    def step(self) -> float:
        """Step once. Return the seconds until the next step."""
        wait = self.shard_sync.step(self.clock())
        self.clock.advance(wait)
        return wait

    @property
    def rows(self) -> set[str]:
        return {row.shard_id for row in self.table.scan()}

    @property
    def names(self) -> list[str]:
        return [shard.shard_id for shard in MemoryStream.shards(self.stream)]


def unavailable(_: Listing) -> Listing:
    raise IncompleteResponse


INCOMPLETE: dict[str, Callable[[Listing], Listing]] = {
    "empty": lambda _: [],
    "without the first": lambda shards: shards[1:],
    "without the last": lambda shards: shards[:-1],
    "no listing": unavailable,
}


@pytest.mark.parametrize("shown", INCOMPLETE.values(), ids=INCOMPLETE)
def test_an_incomplete_listing_is_repeated_within_seconds(shown: Callable[[Listing], Listing]) -> None:
    """It is logged, creates no rows, and does not count as a listing of the stream."""
    bench = Bench()
    bench.stream.next = [shown] * 6
    waits = [bench.step() for _ in range(6)]
    assert bench.rows == set()
    assert not bench.running_shards.rows.discovered
    # logged once, because repeated failures are logged at growing intervals
    assert bench.log.told == ["discovery.failed"]
    assert max(waits) <= RETRIES.most
    bench.step()
    assert bench.rows == set(bench.names)
    assert bench.running_shards.rows.discovered


def test_a_single_listing_without_parents_creates_no_rows() -> None:
    """A child that gets a row first makes its parents look finished, so their records would be lost."""
    bench = Bench()
    parent = bench.names[0]
    bench.stream.split(parent)
    bench.stream.next = [lambda shards: [shard for shard in shards if shard.shard_id != parent]]
    assert bench.step() < 5
    assert bench.rows == set()
    bench.step()
    assert parent in bench.rows


def test_parents_that_two_listings_lack_have_been_trimmed() -> None:
    """Their children are the oldest shards."""
    bench = Bench()
    parent = bench.names[0]
    bench.stream.put(b"x", shard_id=parent)
    bench.stream.split(parent)
    bench.stream.trim(parent, 1)
    bench.step()
    bench.step()
    assert bench.rows == set(bench.names)
    assert parent not in bench.rows


def test_an_incomplete_listing_deletes_no_row_of_a_finished_shard() -> None:
    """A finished shard without its row would be read again."""
    bench = Bench()
    ended, other = bench.names
    child, _ = bench.stream.split(ended)
    for shard in MemoryStream.shards(bench.stream):
        done = shard.shard_id == ended
        row = Lease(shard.shard_id, SHARD_END if done else Position.of(1), shard.parents, hash_range=shard.hash_range)
        bench.table.create(row)
    bench.stream.next = [lambda shards: [shard for shard in shards if shard.shard_id == child]]
    bench.step()
    assert {ended, other} <= bench.rows
    bench.stream.put(b"x")
    bench.stream.next = [lambda shards: [shard for shard in shards if shard.shard_id != ended]] * 3
    bench.step()
    assert ended in bench.rows  # a single listing without it
    bench.step()
    bench.step()
    assert ended not in bench.rows


def test_a_partial_listing_of_a_known_stream_is_repeated_within_seconds() -> None:
    """Its rows leave a hole, so some shard is not read."""
    bench = Bench(Lease("shardId-000000000001", hash_range=(0, 2**127 - 1)))
    bench.stream.next = [lambda shards: shards[:1]]
    assert bench.step() <= RETRIES.most


def test_without_a_hole_only_the_rows_are_checked() -> None:
    """Listing a stream with thousands of shards is expensive."""
    bench = Bench()
    for _ in range(10):
        bench.step()
    assert bench.stream.listings == 1


def test_rows_that_never_cover_all_keys_do_not_cause_endless_listings() -> None:
    """Causes are a shard that ended without children, and rows of a KCL 1.x without hash keys."""
    bench = Bench(*(Lease(f"shardId-00000000000{number}", Position.of(1)) for number in range(2)))
    for _ in range(10):
        bench.step()
    assert bench.rows == set(bench.names)
    assert bench.stream.listings == 1


def test_a_missing_stream_ends_the_start_but_not_a_running_worker() -> None:
    """Until the first listing it is a configuration error."""
    bench = Bench()

    def absent(_: Listing) -> Listing:
        raise ConfigurationError("there is no such stream")

    bench.stream.next = [absent]
    with pytest.raises(ConfigurationError):
        bench.step()
    bench.step()
    bench.clock.advance(2 * LISTING_INTERVAL)
    bench.stream.next = [absent]
    assert bench.step() <= RETRIES.most
    assert bench.log.told == ["discovery.failed"]


# Finite runs ---------------------------------------------------------------------------------------------------------


def test_a_run_is_not_caught_up_while_a_shard_has_no_row() -> None:
    """All existing rows may be read, and yet a shard may be missing."""
    bench = Bench(until=True)
    first, second = MemoryStream.shards(bench.stream)
    read_to = NOON + timedelta(seconds=5)
    bench.running_shards.rows.discovered = True
    bench.table.create(Lease(first.shard_id, Position.of(1), hash_range=first.hash_range, read_to=read_to))
    balance = create_balancer(bench.running_shards)
    balance.step(bench.clock())
    assert not balance.caught_up
    bench.table.create(Lease(second.shard_id, Position.of(1), hash_range=second.hash_range, read_to=read_to))
    bench.clock.advance(10.0)
    balance.step(bench.clock())
    assert balance.caught_up


def test_a_run_whose_shards_have_ended_is_caught_up_only_after_a_listing() -> None:
    """Only the stream knows whether there are children without rows."""
    rows = [Lease("shardId-000000000000", SHARD_END), Lease("shardId-000000000001", SHARD_END)]
    bench = Bench(*rows, until=True)
    bench.running_shards.rows.discovered = True
    balance = create_balancer(bench.running_shards)
    balance.step(bench.clock())
    assert not balance.caught_up
    bench.stream.next = [lambda shards: [replace(shard, closed=True) for shard in shards]] * 2
    assert bench.step() < 5  # a closed shard without children must be seen twice
    bench.step()
    bench.clock.advance(10.0)
    balance.step(bench.clock())
    assert balance.caught_up


# Pure rules ----------------------------------------------------------------------------------------------------------


def shard(name: str, first: int, last: int, *parents: str, closed: bool = False) -> Shard:
    """Return a shard with a part, in 16ths, of the hash keys."""
    part = 2**124
    return Shard(name, parents, (first * part, (last + 1) * part - 1), closed=closed)


@pytest.mark.parametrize(
    ("shards", "whole", "doubt"),
    [
        ([], False, False),
        ([shard("a", 0, 15)], True, False),
        ([shard("a", 0, 7), shard("b", 8, 15)], True, False),
        ([shard("a", 0, 7), shard("b", 9, 15)], False, False),
        ([shard("a", 1, 15)], False, False),
        ([shard("a", 0, 14)], False, False),
        ([shard("p", 0, 15, closed=True), shard("a", 0, 7, "p"), shard("b", 8, 15, "p")], True, False),
        ([shard("p", 0, 15, closed=True), shard("a", 0, 7, "p")], False, False),
        ([shard("p", 0, 15, closed=True)], True, True),
        ([shard("a", 0, 7, "p"), shard("b", 8, 15, "p")], True, True),
        ([shard("p", 0, 7, closed=True), shard("q", 8, 15, closed=True), shard("m", 0, 15, "p", "q")], True, False),
        ([shard("p", 0, 7, closed=True), shard("m", 0, 15, "p", "q")], True, True),
    ],
)
def test_a_listing_shows_whether_it_covers_all_keys_and_may_lack_shards(
    shards: Listing, whole: bool, doubt: bool
) -> None:
    """Only shards without children count for the keys."""
    assert complete(shards) is whole
    assert doubtful(shards) is doubt


# Children of a finished shard ----------------------------------------------------------------------------------------


def test_named_children_get_rows_from_an_incomplete_listing() -> None:
    """Nothing is concluded about other shards."""
    bench = Bench()
    parent, other = bench.names
    bench.stream.split(parent)
    children = [shard for shard in MemoryStream.shards(bench.stream) if shard.parents]
    bench.stream.next = [lambda shards: [shard for shard in shards if shard.shard_id == other]]
    named = bench.running_shards.rows.register(Lease(parent), children)
    assert sorted(named) == sorted(child.shard_id for child in children)
    assert bench.rows == set(named)
    assert other not in bench.rows
    assert {row.hash_range for row in bench.table.scan()} == {child.hash_range for child in children}


@pytest.mark.parametrize("shown", ["nothing", "all but the other parent"])
def test_a_merge_child_gets_no_row_before_its_other_parent(shown: str) -> None:
    """Otherwise that parent would look finished, and its records would be lost."""
    bench = Bench()
    one, other = bench.names
    grandchild, _ = bench.stream.split(other)
    [child] = bench.stream.merge(one, grandchild)
    for name in (one, other):
        bench.table.create(Lease(name))
    [named] = [shard for shard in MemoryStream.shards(bench.stream) if shard.shard_id == child]
    bench.stream.next = [lambda shards: [s for s in shards if shown != "nothing" and s.shard_id != grandchild]] * 2
    for _ in range(2):
        with pytest.raises(StreamUnavailable):
            bench.running_shards.rows.register(Lease(one), [named])
    assert child not in bench.rows
    bench.running_shards.rows.register(Lease(one), [named])
    assert {child, grandchild} <= bench.rows


def test_a_child_that_no_listing_shows_yet_gets_a_row_and_a_warning() -> None:
    """The response of the parent names it, and the listing still shows the parent open: the response counts."""
    bench = Bench()
    before = MemoryStream.shards(bench.stream)
    parent = bench.names[0]
    bench.stream.split(parent)
    children = [shard for shard in MemoryStream.shards(bench.stream) if shard.parents]
    bench.stream.next = [lambda _: before]
    bench.table.create(Lease(parent))
    named = bench.running_shards.rows.register(Lease(parent), children)
    assert set(named) <= bench.rows
    assert bench.log.told == ["children.not_listed"]


def test_a_listing_provides_the_parents_and_keys_of_a_child() -> None:
    """The response of the parent only names the child."""
    bench = Bench()
    one, other = bench.names
    [child] = bench.stream.merge(one, other)
    bench.running_shards.rows.register(Lease(one), [Shard(child, (one,))])
    [row] = [row for row in bench.table.scan() if row.shard_id == child]
    assert set(row.parents) == {one, other}


def test_no_child_gets_a_row_while_the_stream_does_not_respond() -> None:
    """The end of the shard waits."""
    bench = Bench()

    def away(_: Listing) -> Listing:
        raise StreamUnavailable

    bench.stream.next = [away]
    with pytest.raises(StreamUnavailable):
        bench.running_shards.rows.register(Lease(bench.names[0]), [])
    assert bench.rows == set()
