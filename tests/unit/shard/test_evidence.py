"""Conclude the right thing from unusual responses: lose nothing, and end a shard only on evidence."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from consumer.errors import (
    IncompleteResponse,
    IteratorExpired,
    PositionUnknown,
    ReadTimedOut,
    Retryable,
    ShardGone,
    StreamUnavailable,
)
from consumer.leases import Lease
from consumer.records import LATEST, Fetched, Position, PositionKind, Record, Shard, StreamSummary
from consumer.shard.read_size import MOST_RECORDS, ReadSize
from consumer.shard.reader import LEAST_INTERVAL, ShardReader
from consumer.shard.shard_end import CONFIRM_AFTER
from consumer.shard.tip import ARRIVAL_MARGIN
from consumer.streams.memory import MemoryStream
from tests.unit.clocks import FakeClock
from tests.unit.worlds import NOON, shard_context

Change = Callable[[Fetched], Fetched]


class OddStream(MemoryStream):
    """A stream that changes some or all responses."""

    def __init__(self, clock: FakeClock, shards: int = 1) -> None:
        super().__init__("calls", shards, lambda: NOON.timestamp() + clock())
        self.next: list[Change] = []
        self.always: Change = lambda fetched: fetched
        self.list: Callable[[Sequence[Shard]], Sequence[Shard]] = lambda shards: shards
        self.describe: Callable[[StreamSummary], StreamSummary] = lambda summary: summary
        self.listings = 0
        self.limits: list[tuple[int, bool]] = []
        self.asked = ""

    def summary(self) -> StreamSummary:
        return self.describe(super().summary())

    def shards(self) -> Sequence[Shard]:
        self.listings += 1
        return self.list(super().shards())

    def fetch(self, iterator: str, limit: int, patient: bool = False) -> Fetched:
        self.limits.append((limit, patient))
        self.asked = iterator
        change = self.next.pop(0) if self.next else self.always
        return change(super().fetch(iterator, limit))


class Bench:
    """One shard that is read from the beginning, one fetch at a time."""

    def __init__(self, eager: bool = False, shards: int = 1) -> None:
        self.clock = FakeClock()
        self.stream = OddStream(self.clock, shards)
        self.shard = MemoryStream.shards(self.stream)[0].shard_id
        world = shard_context(self.stream, self.clock, eager)
        made = self.stream.summary().created_at
        self.reading = ShardReader(Lease(self.shard, stream_created_at=made), world)
        self.refusals: list[Exception] = []

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.clock())

    def put(self, *data: bytes) -> list[int]:
        return [self.stream.put(each, shard_id=self.shard) for each in data]

    def run(self, fetches: int = 20) -> list[int]:
        """Read on. Return the numbers of all records so far."""
        for _ in range(fetches):
            if self.reading.ended:
                break
            self.clock.advance(LEAST_INTERVAL)
            try:
                self.reading.fetch(self.clock())
            except IteratorExpired:
                self.reading.reopen()
            except Retryable as error:
                self.refusals.append(error)
        return [record.sequence for record in self.reading.backlog]

    @property
    def children(self) -> list[str]:
        return sorted(child.shard_id for child in self.reading.children)


def refused(error: Exception) -> Change:
    def change(_: Fetched) -> Fetched:
        raise error

    return change


ODD: dict[str, Change] = {
    "no records": refused(IncompleteResponse()),
    "no iterator": lambda fetched: replace(fetched, next_iterator=None),
    "nothing at all": lambda _: Fetched([], None, 0),
    "nothing, and behind": lambda _: Fetched([], None, 5000),
    "nothing, and no lag": lambda _: Fetched([], None, None),
    "records and no lag": lambda fetched: replace(fetched, millis_behind=None),
    "twice each": lambda fetched: replace(fetched, records=[r for r in fetched.records for _ in range(2)]),
    "out of order": lambda fetched: replace(fetched, records=fetched.records[::-1]),
    "always at the tip": lambda fetched: replace(fetched, millis_behind=0),
    "expired": refused(IteratorExpired()),
    "unknown for a moment": refused(ShardGone()),
    "not available": refused(StreamUnavailable()),
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
@pytest.mark.parametrize("listed_closed", [False, True])
@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_an_unusual_response_does_not_end_an_open_shard_or_lose_records(
    odd: Change, listed_closed: bool, eager: bool, at: int
) -> None:
    """Each record arrives once and in order, even if a listing calls the shard closed."""
    bench = Bench(eager)
    if listed_closed:
        bench.stream.list = lambda shards: [replace(shard, closed=True) for shard in shards]
    numbers = bench.put(*[b"x"] * 50)
    bench.stream.next = [lambda fetched: fetched] * at + [odd]
    bench.run()
    numbers += bench.put(b"y")
    assert bench.run() == numbers
    assert not bench.reading.ended


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_a_closed_shard_ends_after_its_last_record_despite_an_unusual_response(odd: Change, at: int) -> None:
    """Its children are created."""
    bench = Bench()
    numbers = bench.put(*[b"x"] * 50)
    children = bench.stream.split(bench.shard)
    bench.stream.next = [lambda fetched: fetched] * at + [odd]
    assert bench.run(60) == numbers
    assert bench.reading.ended
    assert bench.children in ([], sorted(children))


def test_children_end_a_shard_without_a_listing() -> None:
    """Kinesis names them in the last response."""
    bench = Bench()
    children = bench.stream.split(bench.shard)
    bench.run()
    assert bench.children == sorted(children)
    assert bench.stream.listings == 0


def test_a_child_without_a_parent_gets_the_shard_that_named_it() -> None:
    """Otherwise it could be read before this shard has ended."""
    bench = Bench()
    bench.stream.split(bench.shard)
    bench.stream.always = lambda fetched: replace(fetched, children=[replace(c, parents=()) for c in fetched.children])
    bench.run()
    assert {child.parents for child in bench.reading.children} == {(bench.shard,)}


def test_children_beside_a_next_iterator_do_not_end_a_shard() -> None:
    """There are more records to read."""
    bench = Bench()
    bench.stream.always = lambda fetched: replace(fetched, children=[Shard("child", (bench.shard,))])
    bench.run()
    assert not bench.reading.ended


def test_without_children_a_listing_and_a_new_iterator_end_the_shard() -> None:
    """Some emulators omit the children."""
    bench = Bench()
    numbers = bench.put(b"x", b"y")
    bench.stream.split(bench.shard)
    bench.stream.always = lambda fetched: replace(fetched, children=())
    assert bench.run() == numbers
    assert bench.reading.ended
    assert bench.stream.listings == 1


@pytest.mark.parametrize("lag", [None, 1, 5000])
def test_an_empty_response_before_the_tip_does_not_end_a_closed_shard(lag: int | None) -> None:
    """Even without a next iterator, records may follow."""
    bench = Bench()
    bench.stream.split(bench.shard)
    bench.stream.always = lambda fetched: replace(fetched, children=(), millis_behind=lag)
    bench.run()
    assert not bench.reading.ended
    assert len(bench.refusals) == 20


def test_a_shard_that_is_listed_as_open_never_ends() -> None:
    """Each unusual response is logged with a reason."""
    bench = Bench()
    bench.put(b"x")
    bench.stream.always = lambda fetched: replace(fetched, next_iterator=None)
    bench.run()
    assert not bench.reading.ended
    assert {type(error) for error in bench.refusals} == {IncompleteResponse}


def test_a_proxy_that_drops_every_iterator_loses_no_record() -> None:
    """The shard is opened again after its last record each time."""
    bench = Bench()
    numbers = bench.put(*[b"x" * 200_000] * 40)
    bench.stream.always = lambda fetched: replace(fetched, next_iterator=None)
    assert bench.run(40) == numbers
    bench.stream.split(bench.shard)
    bench.run()
    assert bench.reading.ended


def test_a_closed_shard_without_listed_children_is_listed_twice() -> None:
    """The listing may lack the page with the children."""
    bench = Bench()
    bench.stream.split(bench.shard)
    bench.stream.list = lambda shards: shards[:1]
    bench.stream.always = lambda fetched: replace(fetched, children=())
    bench.run(int(CONFIRM_AFTER / LEAST_INTERVAL) - 1)
    assert not bench.reading.ended
    bench.run()
    assert bench.reading.ended


def test_a_shard_is_gone_when_two_complete_listings_lack_it() -> None:
    """The stream trimmed the last records of a closed shard."""
    bench = Bench()
    bench.put(b"x")
    bench.stream.split(bench.shard)
    bench.stream.trim(bench.shard, 1)
    bench.run(1)
    assert not bench.reading.ended
    bench.run()
    assert bench.reading.ended
    assert bench.stream.listings >= 2


@pytest.mark.parametrize("parent_is_closed", [False, True])
def test_a_child_that_is_not_listed_yet_is_waited_for(parent_is_closed: bool) -> None:
    """Kinesis removes a shard after its parents, so a child of a listed parent cannot be gone."""
    bench = Bench()
    before = MemoryStream.shards(bench.stream)
    child, _ = bench.stream.split(bench.shard)
    [listed] = MemoryStream.shards(bench.stream)[:1]
    shown = [listed, *before[1:]] if parent_is_closed else before
    bench.stream.list = lambda _: shown
    bench.stream.next = [refused(ShardGone())] * 100
    numbers = [bench.stream.put(b"x", shard_id=child)]
    world = shard_context(bench.stream, bench.clock)
    lease = Lease(child, parents=(bench.shard,), stream_created_at=bench.stream.summary().created_at)
    bench.reading = ShardReader(lease, world)
    bench.run(100)
    assert not bench.reading.ended
    assert {type(error) for error in bench.refusals} == {StreamUnavailable}
    bench.stream.list = lambda shards: shards
    assert bench.run() == numbers


@pytest.mark.parametrize(
    ("listing", "says"),
    [
        ("empty", "stream 'calls' does not know the shard, and its listing lacks shards; trying again"),
        ("partial", "stream 'calls' does not know the shard, and its listing lacks shards; trying again"),
        ("with it", "stream 'calls' lists the shard, but refuses to read it as unknown; trying again"),
    ],
)
def test_an_incomplete_listing_ends_no_shard(listing: str, says: str) -> None:
    """Seeing it repeatedly changes nothing. The message says which stream contradicts itself, and how."""
    bench = Bench(shards=2)
    shown = {"empty": [], "partial": MemoryStream.shards(bench.stream)[1:], "with it": bench.stream.shards()}[listing]
    bench.stream.list = lambda _: shown
    bench.stream.always = refused(ShardGone())
    bench.run(60)
    assert not bench.reading.ended
    assert {str(error) for error in bench.refusals} == {says}


@pytest.mark.parametrize(
    "describe",
    [
        lambda summary: replace(summary, active=False),
        lambda summary: replace(summary, created_at=summary.created_at + timedelta(hours=1)),
    ],
    ids=["not active", "created again"],
)
def test_a_shard_of_another_stream_does_not_end_ours(describe: Callable[[StreamSummary], StreamSummary]) -> None:
    """A stream that was deleted and created again has none of our shards and is not read."""
    bench = Bench()
    bench.stream.split(bench.shard)
    bench.stream.list = lambda shards: shards[1:]
    bench.stream.describe = describe
    bench.stream.next = [refused(ShardGone())]
    bench.run(60)
    assert not bench.reading.ended
    assert bench.stream.limits == [(20, False)]


@pytest.mark.parametrize(("hours", "reads"), [(0, 1), (1, 0)], ids=["the same stream", "created again"])
def test_a_rejected_position_starts_at_the_oldest_record_of_the_same_stream(hours: int, reads: int) -> None:
    """It was trimmed. In another stream of that name it means nothing."""
    bench = Bench()
    bench.put(b"x")
    bench.stream.describe = lambda summary: replace(summary, created_at=summary.created_at + timedelta(hours=hours))
    bench.reading.start_from(Position.of(5))
    opened = bench.stream.open

    def refuse(shard_id: str, position: Position) -> str:
        if position.kind is PositionKind.SEQUENCE:
            raise PositionUnknown
        return opened(shard_id, position)

    bench.stream.open = refuse  # type: ignore[method-assign]
    bench.run(1)
    assert len(bench.stream.limits) == reads


def test_a_repeated_page_is_opened_again_after_its_last_record() -> None:
    """A next iterator that equals the old one leads nowhere."""
    bench = Bench()
    numbers = bench.put(*[b"x" * 500_000] * 8)
    bench.stream.always = lambda fetched: replace(fetched, next_iterator=bench.stream.asked)
    assert bench.run(40) == numbers


# Read position for --until-caught-up ---------------------------------------------------------------------------------


def test_a_lag_of_0_before_further_records_is_not_believed() -> None:
    """Emulators compute it from arrival times, so only the arrival of the last record counts."""
    bench = Bench(eager=True)
    bench.put(*[b"x"] * 30)
    put_at = bench.now()
    bench.clock.advance(100.0)
    bench.stream.always = lambda fetched: replace(fetched, millis_behind=0)
    bench.run(1)
    assert bench.reading.tip.read_to == put_at - ARRIVAL_MARGIN
    bench.run()
    assert bench.reading.tip.settled
    assert bench.reading.tip.read_to is not None
    assert bench.reading.tip.read_to > put_at + timedelta(seconds=100)


def test_a_finite_run_of_a_stream_without_a_lag_and_with_many_empty_pages_ends() -> None:
    """60 % of its responses are empty and claim that no records are left. The first ones may all be."""
    early = 0
    for seed in range(100):
        draw = random.Random(seed)
        bench = Bench(eager=True)
        numbers = bench.put(*[b"x" * 900_000] * 20)
        bench.clock.advance(3600.0)

        def often_empty(fetched: Fetched, draw: random.Random = draw, bench: Bench = bench) -> Fetched:
            nothing = draw.random() < 0.6
            return Fetched([], bench.stream.asked, 0) if nothing else replace(fetched, millis_behind=0)

        bench.stream.always = often_empty
        found: list[int] = []
        for _ in range(400):
            if not bench.reading.tip.settled:
                found = bench.run(1)
        assert bench.reading.tip.settled
        early += found != numbers
    assert early <= 5


@pytest.mark.parametrize("lie", [Fetched([], "", 0), Fetched([], "", None)], ids=["lag 0", "no lag"])
def test_a_single_empty_response_is_not_the_tip_of_a_finite_run(lie: Fetched) -> None:
    """A response to a new iterator must confirm it."""
    bench = Bench(eager=True)
    numbers = bench.put(b"x", b"y")
    bench.stream.next = [lambda fetched: replace(lie, next_iterator=fetched.next_iterator)]
    bench.run(1)
    assert bench.reading.tip.read_to is None
    assert not bench.reading.tip.settled
    assert bench.run() == numbers
    assert bench.reading.tip.settled


def test_an_iterator_that_skips_records_is_found_before_the_run_ends() -> None:
    """A new one after the last record shows them."""
    bench = Bench(eager=True)
    numbers = bench.put(b"x", b"y")
    bench.stream.next = [lambda _: Fetched([], bench.stream.open(bench.shard, LATEST), 0)]
    assert bench.run() == numbers
    assert bench.reading.tip.settled


def test_without_a_lag_several_empty_responses_show_the_tip() -> None:
    """Otherwise a finite run would never end."""
    bench = Bench(eager=True)
    numbers = bench.put(b"x")
    bench.stream.always = lambda fetched: replace(fetched, millis_behind=None)
    bench.run(4)
    assert not bench.reading.tip.settled
    assert bench.run() == numbers
    assert bench.reading.tip.settled


def test_a_lag_that_stays_above_0_is_subtracted() -> None:
    """Records that had arrived by then are read."""
    bench = Bench(eager=True)
    numbers = bench.put(b"x")
    bench.stream.always = lambda fetched: replace(fetched, millis_behind=3)
    assert bench.run() == numbers
    assert bench.reading.tip.settled
    assert bench.reading.tip.read_to == bench.now() - timedelta(milliseconds=3)


def test_a_busy_shard_is_read_up_to_the_arrival_of_its_last_record() -> None:
    """It may never have an empty response."""
    bench = Bench(eager=True)
    for _ in range(10):
        bench.put(b"x")
        bench.run(1)
    assert bench.reading.tip.read_to is not None
    assert bench.reading.tip.read_to <= bench.now() - ARRIVAL_MARGIN
    assert bench.reading.tip.read_to >= bench.now() - ARRIVAL_MARGIN - timedelta(seconds=2 * LEAST_INTERVAL)


def test_an_empty_response_before_the_tip_counts_by_its_lag() -> None:
    """Kinesis sends these while it looks for the next record."""
    bench = Bench()
    bench.stream.always = lambda fetched: Fetched([], fetched.next_iterator, 86_400_000)
    bench.run()
    assert bench.reading.tip.read_to == bench.now() - timedelta(days=1)
    assert not bench.reading.tip.at_tip


def test_an_unknown_arrival_time_shows_nothing() -> None:
    """Only an empty response does then."""
    bench = Bench()
    bench.put(b"x")
    bench.stream.always = lambda fetched: replace(
        fetched, records=[Record(r.sequence, r.partition_key, 0.0, r.data) for r in fetched.records]
    )
    bench.run(1)
    assert bench.reading.tip.read_to is None
    bench.run(1)
    assert bench.reading.tip.read_to == bench.now()


# Size of reads -------------------------------------------------------------------------------------------------------


def test_the_read_limit_follows_the_record_size_up_to_2_mib() -> None:
    """It starts small, and a response without records does not change it."""
    portion = ReadSize()
    asked = []
    for sizes in ([], [1024], [2048, 0], [], [4 * 1024 * 1024], [0], [1]):
        asked.append(portion.records)
        portion.responded(len(sizes), sum(sizes))
    assert asked == [20, 20, 2048, 2048, 2048, 1, 1]
    assert portion.records == MOST_RECORDS


def test_large_records_of_one_shard_do_not_limit_the_others() -> None:
    """Each shard has a separate limit."""
    large, small = Bench(), Bench()
    large.put(*[b"x" * 1_000_000] * 3)
    small.put(*[b"x" * 1000] * 3)
    for bench in (large, small):
        bench.run(2)
    assert large.reading.read_size.records < 5
    assert small.reading.read_size.records > 2000


@pytest.mark.parametrize("error", [ReadTimedOut(), IncompleteResponse()])
def test_a_timeout_reduces_the_limit_and_extends_the_wait(error: Exception) -> None:
    """The limit falls while timeouts last, never to 0, and rises with each response."""
    bench = Bench()
    bench.put(*[b"x" * 1000] * 9000)
    bench.run(1)
    bench.stream.next = [refused(error)] * 7
    bench.run(14)
    limits = [limit for limit, _ in bench.stream.limits]
    assert limits[1:9] == [2097, 525, 132, 33, 9, 3, 2, 2]  # a new iterator returns the last record once more
    assert limits[9:] == sorted(limits[9:])
    assert [patient for _, patient in bench.stream.limits[:9]] == [False] * 2 + [True] * 7
    bench.run(10)
    assert bench.stream.limits[-1] == (2097, False)


def test_a_timeout_of_large_records_extends_the_wait_too() -> None:
    """A single record cannot be split."""
    portion = ReadSize()
    portion.responded(1, 4 * 1024 * 1024)
    portion.timed_out()
    assert (portion.records, portion.cut) == (1, True)
    for _ in range(3):
        portion.responded(1, 4 * 1024 * 1024)
    assert not portion.cut


def test_a_slow_response_reduces_the_limit() -> None:
    """This happens before a timeout, and fast responses raise the limit again."""
    portion = ReadSize()
    limits = []
    for seconds in (0.0, 6.0, 6.0, 3.0, 3.0, 1.0, 1.0):
        portion.responded(1000, 1000 * 2048, seconds)
        limits.append((portion.records, portion.cut))
    assert [limit for limit, _ in limits] == [1024, 512, 256, 256, 256, 512, 1024]
    assert [cut for _, cut in limits] == [False] + [True] * 5 + [False]
