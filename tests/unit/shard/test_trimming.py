"""Report records that the stream trimmed before they were read, but nothing for a quiet shard."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog

from consumer.errors import StreamUnavailable
from consumer.leases import Lease
from consumer.pipeline.batching import Batch
from consumer.records import LATEST, SHARD_END, TRIM_HORIZON, Fetched, Position, Record, StreamSummary
from consumer.shard.trimming import MARGIN, Retention, TrimWatch, read_up_to, unread
from tests.unit.clocks import FakeClock
from tests.unit.fakes import SHARD, held, shard_context

NOW = datetime(2026, 1, 10, tzinfo=UTC)
DAY = 86_400.0
CHECKPOINT = Position.of(100)


def ago(hours: float) -> datetime:
    return NOW - timedelta(hours=hours)


def response(*sequences: int, hours: float = 0.0, behind: float = 0.0) -> Fetched:
    """Return a response with records that arrived some hours ago, some seconds behind the tip."""
    found = [Record(number, "key", ago(hours).timestamp(), b"x") for number in sequences]
    return Fetched(found, "iterator", int(behind * 1000), (), len(found))


class Bench:
    """A check of one shard with a retention of a day. Its clock starts at `NOW`."""

    def __init__(self, **lease: Any) -> None:
        self.clock, self.retention, self.told = FakeClock(0.0), DAY, []
        self.table, self.held_lease = held([], self.clock, **lease)
        self.world = shard_context(
            self.clock,
            server_time=self.now,
            retention=lambda: self.retention,
            log=structlog.wrap_logger(None, processors=[self.note]),
        )
        self.watch = TrimWatch(self.held_lease, self.world)

    told: list[dict[str, Any]]

    def note(self, logger: Any, method: str, event: Any) -> Any:
        self.told.append({**event, "level": method})
        raise structlog.DropEvent

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.clock.now)

    def answer(self, fetched: Fetched) -> None:
        self.watch.check(fetched, None)

    @property
    def lost(self) -> list[float]:
        """Return the hours of each span that may be lost."""
        return [round(event["seconds"] / 3600, 2) for event in self.told if event["event"] == "shard.trimmed"]


@pytest.mark.parametrize(
    ("lease", "first", "lost"),
    [
        # Stopped for longer than the retention: records in between are lost.
        ({"checkpoint": CHECKPOINT, "read_to": ago(30)}, response(200), [6.0]),
        ({"checkpoint": CHECKPOINT, "read_to": ago(30)}, response(), [6.0]),
        ({"checkpoint": TRIM_HORIZON, "read_to": ago(25)}, response(200), [1.0]),
        # A quiet shard: its checkpointed record is trimmed, too, but it was read lately.
        ({"checkpoint": CHECKPOINT, "read_to": ago(23)}, response(200), []),
        ({"checkpoint": CHECKPOINT, "read_to": ago(0)}, response(), []),
        ({"checkpoint": CHECKPOINT, "read_to": ago(24.01)}, response(200), []),
        # The checkpointed record itself is returned, so no record after it is trimmed.
        ({"checkpoint": CHECKPOINT, "read_to": ago(30)}, response(100, 200), []),
        # A record older than the retention is returned: the stream does not trim yet.
        ({"checkpoint": CHECKPOINT, "read_to": ago(30)}, response(200, hours=26), []),
        # Started at an instant that is older than the stream's records.
        ({"started_at": ago(48)}, response(200), [24.0]),
        ({"started_at": ago(48), "stream_created_at": ago(30)}, response(200), [6.0]),
        ({"started_at": ago(48), "stream_created_at": ago(3)}, response(200), []),
        ({"checkpoint": LATEST, "started_at": ago(2)}, response(200), []),
        # A child may be younger than the instant. Read from its beginning, it misses nothing.
        ({"started_at": ago(48), "parents": ("parent",)}, response(200), []),
        ({"checkpoint": TRIM_HORIZON}, response(200), []),
        ({"checkpoint": TRIM_HORIZON}, response(), []),
    ],
)
def test_the_first_response_after_an_absence_reports_a_loss(
    lease: dict[str, Any], first: Fetched, lost: list[float]
) -> None:
    """It compares what the row says was read with the retention."""
    bench = Bench(**lease)
    bench.answer(first)
    bench.answer(response(300))
    assert bench.lost == lost
    assert bench.world.metrics.trimmed_times == len(lost)
    assert bench.world.metrics.trimmed_seconds == pytest.approx(sum(lost) * 3600)
    assert {event["level"] for event in bench.told} <= {"error"}


def test_the_span_that_may_be_lost_is_named() -> None:
    """An operator can look for it elsewhere."""
    bench = Bench(checkpoint=CHECKPOINT, read_to=ago(30))
    bench.answer(response(200))
    [event] = bench.told
    assert (event["since"], event["until"]) == ("2026-01-08T18:00:00.000Z", "2026-01-09T00:00:00.000Z")


@pytest.mark.parametrize("how", ["checkpoint", "renewal", "hand-over"])
def test_the_row_keeps_the_span_that_may_be_lost(how: str) -> None:
    """`doctor` can then report it after the worker has read on."""
    bench = Bench(checkpoint=CHECKPOINT, read_to=ago(30))
    bench.answer(response(200))
    if how == "checkpoint":
        bench.held_lease.checkpoint(Position.of(200))
    elif how == "hand-over":
        bench.held_lease.hand_off(None)
    elif (change := bench.held_lease.begin_renewal()) is not None:
        bench.held_lease.end_renewal(bench.table.write([change])[0], bench.clock())
    assert (bench.held_lease.lease.lost_from, bench.held_lease.lease.lost_to) == (ago(30), ago(24))


def test_empty_pages_are_no_evidence_of_a_loss() -> None:
    """A stream may return empty pages for minutes before the next record."""
    bench = Bench(checkpoint=CHECKPOINT, read_to=ago(30))
    for _ in range(20):
        bench.answer(response(behind=DAY))
        bench.clock.advance(0.2)
    assert bench.lost == []
    bench.answer(response(100))
    assert bench.lost == []


@pytest.mark.parametrize(("first", "warned"), [(response(100), False), (response(200), True), (response(), True)])
def test_a_row_without_a_read_time_reports_no_loss(first: Fetched, warned: bool) -> None:
    """A KCL stores no such time, so its quiet shards look like those with a loss."""
    bench = Bench(checkpoint=CHECKPOINT)
    bench.answer(first)
    bench.answer(response(300))
    assert [event["level"] for event in bench.told] == ["warning"] * warned
    assert bench.world.metrics.trimmed_times == 0


def test_a_reader_that_the_horizon_overtakes_reports_one_loss() -> None:
    """It stood still for an hour, an hour before the end of the retention."""
    bench = Bench(checkpoint=CHECKPOINT, read_to=ago(23.5))
    bench.answer(response(100, 101, behind=23.5 * 3600))
    for number in range(102, 105):
        bench.clock.advance(3600.0 if number == 102 else 1.0)
        bench.answer(response(number, hours=-1, behind=DAY))
    assert bench.lost == [0.5]


def test_a_reader_that_keeps_up_reports_no_loss() -> None:
    """It reads at the tip, or just ahead of the end of the retention."""
    for behind in (0.0, DAY):
        bench = Bench()
        for number in range(200):
            bench.answer(response(number, hours=behind / 3600, behind=behind))
            bench.clock.advance(30.0)
        assert bench.told == []


def test_a_lowered_retention_is_noticed_while_running() -> None:
    """The reader is two hours behind, and the stream now keeps one hour."""
    bench = Bench(checkpoint=CHECKPOINT, read_to=ago(3))
    bench.answer(response(100, 101, hours=2, behind=7200))
    bench.retention = 3600.0
    bench.clock.advance(10.0)
    bench.answer(response(102))
    assert bench.lost == [1.0]


def test_a_trimmed_shard_may_have_had_unread_records() -> None:
    """The span starts when it was last read."""
    bench = Bench(checkpoint=CHECKPOINT, read_to=ago(30))
    bench.watch.gone()
    assert bench.lost == [6.0]


def test_the_retention_is_refreshed_and_an_outage_keeps_the_old_value() -> None:
    """An operator may change it at any time."""
    answers: list[StreamSummary | Exception] = [StreamUnavailable(), StreamSummary("s", True, NOW, NOW, 3600.0)]

    def summary() -> StreamSummary:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    retention = Retention(summary, DAY)
    seen = []
    for _ in range(3):
        retention.step(0.0)
        seen.append(retention())
    assert seen == [DAY, DAY, 3600.0]


def test_the_row_keeps_the_arrival_of_its_last_record() -> None:
    """The checkpoint writes it, because the process may be killed right after."""
    bench = Bench()
    bench.watch.delivers(Batch("name", Position.of(7), arrived_at=ago(5).timestamp()))
    bench.held_lease.checkpoint(Position.of(7))
    assert bench.held_lease.lease.read_to == bench.held_lease.read_to == ago(5)


@pytest.mark.parametrize("epoch", [0.0, (NOW + timedelta(days=9)).timestamp()])
def test_an_arrival_in_the_future_is_not_believed(epoch: float) -> None:
    """Emulators and clocks may be wrong."""
    bench = Bench()
    bench.watch.delivers(Batch("name", Position.of(7), arrived_at=epoch))
    bench.held_lease.checkpoint(Position.of(7))
    assert bench.held_lease.lease.read_to in (None, NOW)


def test_a_lease_that_is_handed_off_says_how_far_it_was_read() -> None:
    """The next owner may come days later, and a quiet shard lost nothing."""
    bench = Bench(checkpoint=CHECKPOINT, read_to=ago(30))
    bench.held_lease.read_to = NOW
    bench.held_lease.hand_off(None)
    assert bench.held_lease.lease.read_to == NOW


def test_a_record_older_than_the_retention_makes_the_lag_doubtful_for_a_while() -> None:
    """The row then only counts delivered records, until the shard is quiet."""
    bench = Bench()
    bench.watch.delivers(Batch("name", Position.of(7), arrived_at=ago(30).timestamp()))
    bench.held_lease.checkpoint(Position.of(7))
    bench.held_lease.read_to = NOW
    change = bench.held_lease.begin_renewal()
    assert change is not None
    assert change.after.read_to == ago(30)
    bench.held_lease.end_renewal(None, bench.clock())
    bench.clock.advance(11.0)
    bench.held_lease.began(bench.clock())
    bench.held_lease.hand_off(None)
    assert bench.held_lease.lease.read_to == NOW


def test_the_time_until_unread_records_expire_is_reported() -> None:
    """It is a day after the last read of the shard."""
    bench = Bench(read_to=ago(20))
    bench.world.metrics.shard_added(SHARD)
    bench.watch.tell_expiry()
    [state] = bench.world.metrics.shards.values()
    assert state.unread_expires_at is not None
    assert state.unread_expires_at - bench.world.metrics.clock() == pytest.approx(4 * 3600, abs=5)


def test_doctor_decides_by_the_row_alone() -> None:
    """Ended shards have no unread records."""
    horizon = ago(24)
    assert unread(Lease(SHARD, read_to=ago(24) - 2 * MARGIN), horizon) is not None
    assert unread(Lease(SHARD, read_to=ago(24) - MARGIN), horizon) is None
    assert unread(Lease(SHARD, SHARD_END, read_to=ago(30)), horizon) is None
    assert unread(Lease(SHARD, CHECKPOINT), horizon) is None
    assert read_up_to(Lease(SHARD, CHECKPOINT, started_at=ago(48))) is None
