"""What every sink guarantees, as tests that any sink can run: ours, the simulation's, and those of other packages."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from consumer.errors import RowsRejected, SinkUnavailable
from consumer.records import BatchLimits
from consumer.sinks import Deduplication, Sink
from consumer.testing.batches import make_batch

OpenSink = Callable[[], Sink]


@dataclass(frozen=True, slots=True)
class SinkPlace:
    """An empty place for a sink to write to, for one test.

    `open` connects to it as a new process would. `seen` returns the ids that a reader finds there, in order.
    `trouble` returns a context during which writes fail for a while, if possible in the middle; None skips its test.
    `unstorable` is a value that the sink can never store; None if there is none.
    """

    open: OpenSink
    seen: Callable[[], list[int]]
    trouble: Callable[[], AbstractContextManager[None]] | None = None
    unstorable: Any = None


class SinkContract:
    """Hold a sink to its contract. Subclass it as `TestMySink` and override `place`."""

    @pytest.fixture
    def place(self) -> SinkPlace:
        """Return a new, empty place."""
        raise NotImplementedError("override the fixture `place`")

    @pytest.fixture
    def open_sink(self, place: SinkPlace) -> Iterator[OpenSink]:
        """Open the place and check the sink, as often as it is called; close all at the end."""
        with ExitStack() as stack:

            def opened() -> Sink:
                sink = place.open()
                stack.callback(sink.close)
                sink.check()
                return sink

            yield opened

    def test_it_declares_its_limits_how_it_handles_duplicates_and_whether_it_rejects_rows(
        self, open_sink: OpenSink
    ) -> None:
        """They decide the size of batches, the kind of checkpoints, and whether original bytes are kept."""
        sink = open_sink()
        assert isinstance(sink.limits, BatchLimits)
        assert min(sink.limits.rows, sink.limits.bytes, sink.limits.age) > 0
        assert isinstance(sink.repeats, Deduplication)
        assert isinstance(sink.rejects_rows, bool)

    def test_rows_are_durable_when_write_returns(self, place: SinkPlace, open_sink: OpenSink) -> None:
        """Nothing waits for `close`: another reader finds the rows, also after a crash."""
        assert open_sink().write(make_batch([1, 2, 3])) == 0
        assert place.seen() == [1, 2, 3]

    def test_check_leaves_nothing_that_a_reader_would_see(self, place: SinkPlace, open_sink: OpenSink) -> None:
        """`doctor` and every start call it."""
        open_sink().check()
        open_sink()
        assert place.seen() == []

    def test_a_batch_that_another_process_writes_again_is_handled_as_declared(
        self, place: SinkPlace, open_sink: OpenSink
    ) -> None:
        """BY_ROW and BY_BATCH return the number of known rows; APPENDS returns 0."""
        first, second = open_sink(), open_sink()
        first.write(make_batch([1, 2]))
        repeated = second.write(make_batch([1, 2]))
        known = first.repeats is not Deduplication.APPENDS
        assert repeated == (2 if known else 0)
        assert place.seen() == ([1, 2] if known else [1, 2, 1, 2])

    def test_known_rows_in_a_batch_of_another_name_are_handled_as_declared(
        self, place: SinkPlace, open_sink: OpenSink
    ) -> None:
        """Only BY_ROW recognises a single row."""
        sink = open_sink()
        sink.write(make_batch([1, 2], "dt=2026-01-01/hour=00/shard-1-2"))
        repeated = sink.write(make_batch([2, 3], "dt=2026-01-01/hour=00/shard-2-3"))
        by_row = sink.repeats is Deduplication.BY_ROW
        assert repeated == (1 if by_row else 0)
        assert Counter(place.seen()) == Counter([1, 2, 3] if by_row else [1, 2, 2, 3])

    def test_a_sink_that_recognises_batches_tells_which_ones_it_holds(self, open_sink: OpenSink) -> None:
        """After a failed write the worker asks whether the batch is complete."""
        sink, batch = open_sink(), make_batch([1, 2])
        if sink.repeats is not Deduplication.BY_BATCH:
            pytest.skip("it does not recognise batches")
        assert not sink.holds(batch.name)
        sink.write(batch)
        assert sink.holds(batch.name)
        assert open_sink().holds(batch.name)

    def test_after_trouble_the_same_batch_is_written_again(self, place: SinkPlace, open_sink: OpenSink) -> None:
        """SinkUnavailable while it lasts; then every row is there, and only once unless the sink appends."""
        if place.trouble is None:
            pytest.skip("the place says no way to make trouble")
        sink, batch = open_sink(), make_batch(range(1, 6))
        with place.trouble():
            for _ in range(2):
                with pytest.raises(SinkUnavailable):
                    sink.write(batch)
        sink.write(batch)
        seen = place.seen()
        assert set(seen) == {1, 2, 3, 4, 5}
        if sink.repeats is not Deduplication.APPENDS:
            assert len(seen) == 5

    def test_many_threads_write_at_once(self, place: SinkPlace, open_sink: OpenSink) -> None:
        """All shards share a sink; no line is torn and none is missing."""
        sink = open_sink()
        batches = [make_batch(range(n * 100, n * 100 + 100), f"dt=2026-01-01/hour=00/shard-{n}") for n in range(8)]
        threads = [threading.Thread(target=sink.write, args=(batch,)) for batch in batches]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(place.seen()) == list(range(800))

    def test_rows_that_can_never_be_stored_are_named_and_the_rest_is_written(
        self, place: SinkPlace, open_sink: OpenSink
    ) -> None:
        """Their indexes count from the start of the batch, and their values are not in the error."""
        if place.unstorable is None:
            pytest.skip("it stores every value")
        sink = open_sink()
        assert sink.rejects_rows
        sink.write(make_batch([7]))
        with pytest.raises(RowsRejected) as raised:
            sink.write(make_batch(range(2500), values={2001: place.unstorable}))
        assert set(raised.value.rejected) == {2001}
        assert str(place.unstorable) not in raised.value.rejected[2001]
        assert raised.value.repeated == 1
        assert set(place.seen()) == set(range(2500)) - {2001}

    def test_a_large_batch_is_iterated_and_never_indexed(self, place: SinkPlace, open_sink: OpenSink) -> None:
        """It may be on disk, and larger than the memory."""
        open_sink().write(make_batch(range(5000)))
        assert place.seen() == list(range(5000))
