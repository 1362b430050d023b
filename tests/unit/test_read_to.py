"""Up to which instant a shard is surely read, which tells when a run has caught up and what was lost."""

from datetime import timedelta

import pytest

from consumer.leases import Lease
from consumer.records import Fetched, Record
from consumer.shard.context import PollingPolicy
from consumer.shard.reader import ShardReader
from consumer.shard.tip import AGREEING, ARRIVAL_MARGIN
from tests.unit.clocks import FakeClock
from tests.unit.fakes import QuietStream, surroundings


class Lagging(QuietStream):
    """A stream that answers as told, each time after a while."""

    def __init__(self, clock: FakeClock, *answers: Fetched) -> None:
        self.clock, self.answers = clock, list(answers)

    def fetch(self, iterator: str, limit: int, patient: bool = False) -> Fetched:
        self.clock.advance(3.0)
        return self.answers.pop(0)


def read(*answers: Fetched, eager: bool = False) -> tuple[timedelta | None, ShardReader]:
    """How long before the last question everything is read, after these answers."""
    clock = FakeClock()
    world = surroundings(clock, stream=Lagging(clock, *answers), polling=PollingPolicy(eager=eager))
    reading, asked = ShardReader(Lease("shard"), world), world.server_time()
    for _ in answers:
        asked = world.server_time()
        reading.fetch(clock())
    return (asked - reading.tip.read_to if reading.tip.read_to else None), reading


def answer(behind: float | None, *arrived: float) -> Fetched:
    """Records that arrived so many seconds after the clock's start, and how far that is from the tip in seconds."""
    records = [Record(number + 1, "key", 1000 + at, b"x") for number, at in enumerate(arrived)]
    return Fetched(records, "next", None if behind is None else round(1000 * behind), (), len(records))


NOTHING = answer(0)


@pytest.mark.parametrize("behind", [0.5, 4.0, 60.0])
def test_the_lag_is_taken_off(behind: float) -> None:
    """What arrived last is fresh, yet the stream says that there is more before the tip."""
    short, _ = read(answer(behind, 900.0))
    assert short == timedelta(seconds=behind)


def test_a_lag_that_is_not_believable_is_bounded_by_what_arrived() -> None:
    """An emulator may say 0 although there is more: no more is read than up to the last record's arrival."""
    short, _ = read(answer(0, -7.0, -5.0))
    assert short == timedelta(seconds=5) + ARRIVAL_MARGIN


def test_an_empty_answer_at_the_tip_tells_of_the_instant_before_it_was_asked_for() -> None:
    """What arrives while it is under way may not be in it."""
    short, reading = read(NOTHING)
    assert short == timedelta(0)
    assert reading.tip.at_tip


@pytest.mark.parametrize("behind", [1.0, 3600.0])
def test_an_empty_answer_before_the_tip_tells_of_what_lies_before_the_lag(behind: float) -> None:
    """Kinesis goes through stretches without records one answer at a time."""
    short, reading = read(answer(behind))
    assert short == timedelta(seconds=behind)
    assert not reading.tip.at_tip


@pytest.mark.parametrize("behind", [60.0, 3600.0])
def test_a_run_that_ends_when_it_has_caught_up_learns_nothing_from_an_empty_answer_before_the_tip(
    behind: float,
) -> None:
    """However often it comes: the tip is not reached."""
    assert read(*[answer(behind)] * 6, eager=True)[0] is None


def test_it_never_goes_back() -> None:
    """Although a later answer says that it lags."""
    short, _ = read(NOTHING, answer(50, 900.0))
    assert short == timedelta(seconds=3)  # the time between the two questions


def test_a_run_that_ends_when_it_has_caught_up_wants_several_empty_answers() -> None:
    """The first ones may be wrong about the tip."""
    first, _ = read(*[NOTHING] * (AGREEING - 1), eager=True)
    second, _ = read(*[NOTHING] * AGREEING, eager=True)
    assert (first, second) == (None, timedelta(0))
