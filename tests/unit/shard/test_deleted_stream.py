"""End the run when the stream is deleted, but not when it is missing for a moment."""

from datetime import timedelta

import pytest

from consumer.errors import ConfigurationError, ConsumerError, ShardGone, StreamAbsent
from consumer.records import StreamSummary
from consumer.shard.deleted_stream import CONFIRMED_AFTER, Absence
from tests.unit.shard.test_consumer import NOW, Bench, records


class Lost(Bench):
    """A shard that the stream does not know, and a stream whose summary a test sets."""

    def __init__(self) -> None:
        super().__init__(stream_created_at=NOW)
        self.about: ConsumerError | StreamSummary | None = None
        self.stream.summary = self.summary  # type: ignore[method-assign]
        self.stream.during = self.gone

    def summary(self) -> StreamSummary:
        if isinstance(self.about, ConsumerError):
            raise self.about
        return self.about or StreamSummary("stream", True, NOW, NOW)

    def gone(self) -> None:
        if self.about is not None:
            raise ShardGone

    def go_on(self, seconds: float) -> None:
        """Step for `seconds` while the lease is renewed."""
        until = self.clock() + seconds
        while self.clock() < until:
            delay = self.consumer.step(self.clock())
            assert delay is not None
            self.clock.advance(max(delay, 0.2))
            self.held_lease.began(self.clock())


REPLACED = StreamSummary("stream", True, NOW + timedelta(days=1), NOW)


@pytest.mark.parametrize("about", [StreamAbsent("there is no stream 'stream'"), REPLACED])
def test_a_deleted_stream_ends_the_run_and_releases_the_lease(about: StreamAbsent | StreamSummary) -> None:
    """An operator must choose what to read instead."""
    bench = Lost()
    bench.about = about
    began = bench.clock()
    with pytest.raises(ConfigurationError, match="deleted"):
        bench.go_on(10 * CONFIRMED_AFTER)
    assert CONFIRMED_AFTER <= bench.clock() - began < 2 * CONFIRMED_AFTER
    assert bench.run() is None
    assert bench.done == ["owner None"]


@pytest.mark.parametrize("about", [StreamAbsent("there is no stream 'stream'"), REPLACED])
def test_a_stream_that_returns_is_read_on(about: StreamAbsent | StreamSummary) -> None:
    """Two short absences do not add up to a deletion."""
    bench = Lost()
    for number in (1, 2, 3):
        bench.about = about
        bench.go_on(0.8 * CONFIRMED_AFTER)
        bench.about = None
        bench.stream.answers = [records(number)]
        bench.go_on(10.0)
    assert bench.done[-1] == "checkpoint 3.0"


def test_a_revoked_permission_never_ends_the_run() -> None:
    """An operator may grant it again."""
    bench = Lost()
    bench.about = ConfigurationError("the credentials lack a permission")
    bench.go_on(10 * CONFIRMED_AFTER)
    assert not bench.consumer.over


def test_the_error_says_what_was_missing_and_for_how_long() -> None:
    """It is the last line of the run."""
    absence = Absence()
    absence.confirm("there is no stream 'a'", 0.0)
    with pytest.raises(ConfigurationError, match=r"there is no stream 'a' \(for 30 s; it was there at the start\)"):
        absence.confirm("there is no stream 'a'", CONFIRMED_AFTER)
