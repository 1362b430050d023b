"""Find the instant up to which a shard is certainly read. It decides when a finite run ends and what may be lost."""

from datetime import timedelta

import pytest

from consumer.leases import Lease
from consumer.records import Fetched, Record
from consumer.shard.context import PollingPolicy
from consumer.shard.reader import ShardReader
from consumer.shard.tip import AGREEING, ARRIVAL_MARGIN
from tests.unit.clocks import FakeClock
from tests.unit.fakes import QuietStream, shard_context


class Lagging(QuietStream):
    """A stream with given responses, each after some time."""

    def __init__(self, clock: FakeClock, *answers: Fetched) -> None:
        self.clock, self.answers = clock, list(answers)

    def fetch(self, iterator: str, limit: int, patient: bool = False) -> Fetched:
        self.clock.advance(3.0)
        return self.answers.pop(0)


def read(*answers: Fetched, eager: bool = False) -> tuple[timedelta | None, ShardReader]:
    """Return how many seconds before the last request everything is read, after these responses."""
    clock = FakeClock()
    world = shard_context(clock, stream=Lagging(clock, *answers), polling=PollingPolicy(eager=eager))
    reading, asked = ShardReader(Lease("shard"), world), world.server_time()
    for _ in answers:
        asked = world.server_time()
        reading.fetch(clock())
    return (asked - reading.tip.read_to if reading.tip.read_to else None), reading


def answer(behind: float | None, *arrived: float) -> Fetched:
    """Return a response with records that arrived some seconds after the start, and with a lag in seconds."""
    records = [Record(number + 1, "key", 1000 + at, b"x") for number, at in enumerate(arrived)]
    return Fetched(records, "next", None if behind is None else round(1000 * behind), (), len(records))


NOTHING = answer(0)


@pytest.mark.parametrize("behind", [0.5, 4.0, 60.0])
def test_the_lag_is_subtracted(behind: float) -> None:
    """The last record is recent, but the response reports more records before the tip."""
    short, _ = read(answer(behind, 900.0))
    assert short == timedelta(seconds=behind)


def test_an_implausible_lag_is_limited_by_the_last_arrival() -> None:
    """An emulator may report 0 although there are more records."""
    short, _ = read(answer(0, -7.0, -5.0))
    assert short == timedelta(seconds=5) + ARRIVAL_MARGIN


def test_an_empty_response_at_the_tip_counts_from_before_the_request() -> None:
    """A record that arrives meanwhile may be missing in it."""
    short, reading = read(NOTHING)
    assert short == timedelta(0)
    assert reading.tip.at_tip


@pytest.mark.parametrize("behind", [1.0, 3600.0])
def test_an_empty_response_before_the_tip_counts_up_to_its_lag(behind: float) -> None:
    """Kinesis returns empty responses for spans without records."""
    short, reading = read(answer(behind))
    assert short == timedelta(seconds=behind)
    assert not reading.tip.at_tip


@pytest.mark.parametrize("behind", [60.0, 3600.0])
def test_a_finite_run_ignores_empty_responses_before_the_tip(
    behind: float,
) -> None:
    """The tip is not reached, however many of them arrive."""
    assert read(*[answer(behind)] * 6, eager=True)[0] is None


def test_the_instant_never_decreases() -> None:
    """A later response may report a lag."""
    short, _ = read(NOTHING, answer(50, 900.0))
    assert short == timedelta(seconds=3)  # the time between the two requests


def test_a_finite_run_needs_several_empty_responses_at_the_tip() -> None:
    """The first ones may be wrong."""
    first, _ = read(*[NOTHING] * (AGREEING - 1), eager=True)
    second, _ = read(*[NOTHING] * AGREEING, eager=True)
    assert (first, second) == (None, timedelta(0))
