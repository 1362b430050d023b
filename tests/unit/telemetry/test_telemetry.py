"""Count what the worker does, and export it to Prometheus."""

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import pytest
from prometheus_client.parser import text_string_to_metric_families

from consumer.errors import LeaseTableUnavailable, OutputClosed, RowsRejected, SinkUnavailable, Throttled
from consumer.leases import Lease
from consumer.leases.memory import MemoryLeaseTable
from consumer.measured.lease_table import MeasuredLeaseTable
from consumer.measured.sink import MeasuredSink
from consumer.measured.stream import MeasuredStream
from consumer.records import TRIM_HORIZON, Fetched, Position, Reason, Shard, StreamSummary
from consumer.sinks.stdout import StdoutSink
from consumer.telemetry.exposition import Exposition
from consumer.telemetry.metrics import MOST_CODES, MOST_TYPES, LeaseEvent, Metrics
from tests.unit.clocks import FakeClock
from tests.unit.fakes import SHARD, QuietStream

# Dashboards and alerts depend on these names and labels. A change here breaks them.
NAMES = {
    "call_consumer_fetched_records_total": set(),
    "call_consumer_user_records_total": set(),
    "call_consumer_out_of_range_user_records_total": set(),
    "call_consumer_rows_written_total": set(),
    "call_consumer_rows_repeated_total": set(),
    "call_consumer_skipped_events_total": {"type"},
    "call_consumer_dead_letters_total": {"reason"},
    "call_consumer_dropped_events_total": {"reason"},
    "call_consumer_shards_halted": set(),
    "call_consumer_shard_halted": {"shard"},
    "call_consumer_throttled_reads_total": set(),
    "call_consumer_read_failures_total": {"call", "code"},
    "call_consumer_trimmed_unread_total": set(),
    "call_consumer_trimmed_unread_seconds_total": set(),
    "call_consumer_last_checkpoint_timestamp_seconds": set(),
    "call_consumer_shards_to_read": set(),
    "call_consumer_shards_read": set(),
    "call_consumer_shard_lag_seconds": {"shard"},
    "call_consumer_shard_unread_expires_seconds": {"shard"},
    "call_consumer_shard_progress_age_seconds": {"shard"},
    "call_consumer_leases_held": set(),
    "call_consumer_lease_held": {"shard"},
    "call_consumer_lease_events_total": {"event"},
    "call_consumer_lease_table_failures_total": {"call"},
    "call_consumer_sink_write_seconds_bucket": {"sink", "le"},
    "call_consumer_sink_write_seconds_count": {"sink"},
    "call_consumer_sink_write_seconds_sum": {"sink"},
    "call_consumer_sink_failures_total": {"sink"},
    "call_consumer_buffered_bytes": set(),
    "call_consumer_build_info": {"version", "python"},
}


def scrape(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return every sample of our own metrics by name and labels."""
    text = Exposition(metrics, lambda: 4096, "1.2.3").text().decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    ours = [sample for sample in samples if sample.name.startswith("call_consumer_")]
    return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in ours}


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return scrape(metrics).get((f"call_consumer_{name}", tuple(sorted(labels.items()))))


def busy() -> Metrics:
    """Return metrics that contain every series."""
    metrics = Metrics(clock=FakeClock())
    metrics.records_delivered(7, 9, 1, ["com.twilio.messaging.message.sent"])
    metrics.shard_added("shard-1")
    metrics.lag_reported("shard-1", 2.5)
    metrics.unread_expires("shard-1", 3600.0)
    metrics.batch_delivered("shard-1")
    metrics.shard_halted("shard-1", halted=True)
    return metrics


def test_metric_names_and_labels_stay_the_same() -> None:
    """Each metric has exactly these labels, and there is no other metric."""
    found: dict[str, set[str]] = {}
    for name, labels in scrape(busy()):
        found.setdefault(name, set()).update(label for label, _ in labels)
    assert found == NAMES


def test_a_snapshot_shares_no_mapping_with_the_counts() -> None:
    """A mapping that grows during a scrape would end the scrape with an error."""
    metrics = busy()
    snapshot, mappings = metrics.snapshot(), [n for n, value in vars(metrics).items() if isinstance(value, dict)]
    assert {"skipped", "shards", "read_failures"} <= set(mappings)
    for name in mappings:
        assert getattr(snapshot, name) == getattr(metrics, name)
        assert getattr(snapshot, name) is not getattr(metrics, name)


def test_a_scrape_shows_the_counts() -> None:
    """It includes the counts of the summary at the end of a run."""
    metrics = busy()
    metrics.written(10, 3)
    metrics.dead_lettered(Reason.NOT_JSON, 2)
    metrics.read_throttled()
    metrics.lease_changed(LeaseEvent.TAKEN)
    assert value(metrics, "fetched_records_total") == 7
    assert value(metrics, "user_records_total") == 9
    assert value(metrics, "out_of_range_user_records_total") == 1
    assert value(metrics, "rows_written_total") == 7
    assert value(metrics, "rows_repeated_total") == 3
    assert value(metrics, "skipped_events_total", type="com.twilio.messaging.message.sent") == 1
    assert value(metrics, "dead_letters_total", reason="not-json") == 2
    assert value(metrics, "throttled_reads_total") == 1
    assert value(metrics, "lease_events_total", event="taken") == 1
    assert value(metrics, "buffered_bytes") == 4096
    assert metrics.summary()["written"] == 7


def test_series_of_alerts_exist_before_their_first_event() -> None:
    """Prometheus sees no rise in a series that starts at 1."""
    samples = scrape(Metrics())
    for reason in Reason:
        assert samples["call_consumer_dead_letters_total", (("reason", reason.value),)] == 0
    for event in LeaseEvent:
        assert samples["call_consumer_lease_events_total", (("event", event.value),)] == 0
    for sink in ("rows", "dead-letters"):
        assert samples["call_consumer_sink_failures_total", (("sink", sink),)] == 0
    assert samples["call_consumer_lease_table_failures_total", (("call", "scan"),)] == 0


def test_a_shard_that_was_released_is_not_shown() -> None:
    """Its last lag would raise an alert forever."""
    metrics = busy()
    assert value(metrics, "shard_lag_seconds", shard="shard-1") == 2.5
    assert value(metrics, "lease_held", shard="shard-1") == 1
    metrics.shard_removed("shard-1")
    metrics.batch_delivered("shard-1")
    assert not [name for name, labels in scrape(metrics) if ("shard", "shard-1") in labels]
    assert value(metrics, "leases_held") == 0


def test_the_progress_age_grows_until_a_read_or_a_delivery() -> None:
    """A shard that hangs counts nothing, but its age grows."""
    clock = FakeClock()
    metrics = Metrics(clock=clock)
    metrics.shard_added("s")
    assert value(metrics, "shard_lag_seconds", shard="s") is None  # no lag is known
    clock.advance(5)
    assert value(metrics, "shard_progress_age_seconds", shard="s") == 5
    metrics.lag_reported("s", 0.0)
    assert value(metrics, "shard_progress_age_seconds", shard="s") == 0
    clock.advance(7)
    assert value(metrics, "shard_progress_age_seconds", shard="s") == 7
    metrics.batch_delivered("s")
    assert value(metrics, "shard_progress_age_seconds", shard="s") == 0


def test_the_lag_of_a_shard_grows_while_it_is_not_read() -> None:
    """Otherwise a shard that hangs at the tip would look healthy in the metrics and in the log."""
    clock = FakeClock()
    metrics = Metrics(clock=clock)
    metrics.shard_added("s")
    metrics.lag_reported("s", 3.0)
    clock.advance(60)
    metrics.batch_delivered("s")
    assert value(metrics, "shard_lag_seconds", shard="s") == 63.0
    assert metrics.summary()["lag"] == 63.0
    metrics.lag_reported("s", 1.0)
    assert value(metrics, "shard_lag_seconds", shard="s") == 1.0


def test_the_time_until_unread_records_expire_falls_while_nothing_is_read() -> None:
    """An alert shows the time that is left. Below 0, records may be lost."""
    clock = FakeClock()
    metrics = Metrics(clock=clock)
    metrics.unread_expires("s", 100.0)  # released
    assert value(metrics, "shard_unread_expires_seconds", shard="s") is None
    metrics.shard_added("s")
    assert value(metrics, "shard_unread_expires_seconds", shard="s") is None  # no expiry is known
    metrics.unread_expires("s", 100.0)
    clock.advance(101)
    metrics.lag_reported("s", 5.0)
    metrics.batch_delivered("s")
    assert value(metrics, "shard_unread_expires_seconds", shard="s") == -1


def test_shards_to_read_and_shards_read_are_separate_metrics() -> None:
    """Our shard counts while reads succeed, and a peer's shard counts while the peer lives."""
    clock = FakeClock()
    metrics = Metrics(clock=clock)
    metrics.shards_counted(4, 1)
    metrics.shard_added("a")
    metrics.shard_added("b")
    metrics.lag_reported("a", 0.0)
    assert (value(metrics, "shards_to_read"), value(metrics, "shards_read")) == (4, 2)
    clock.advance(120)
    assert value(metrics, "shards_read") == 1


def test_failed_reads_are_counted_by_call_and_code() -> None:
    """A proxy may invent codes, so only a limited number become labels."""
    metrics = Metrics()
    assert value(metrics, "read_failures_total", call="GetRecords", code="AccessDeniedException") == 0
    metrics.read_failed("GetRecords", "AccessDeniedException")
    metrics.read_failed("GetRecords", "+15550100 is not a code")
    for number in range(200):
        metrics.read_failed("GetRecords", f"Odd{number}")
    assert value(metrics, "read_failures_total", call="GetRecords", code="AccessDeniedException") == 1
    assert len(metrics.read_failures) <= MOST_CODES + 1
    assert metrics.read_failures.total() == 202


def test_a_measured_stream_reports_the_failed_call_and_its_code() -> None:
    """It uses AWS's names, and the caller gets the same error."""
    metrics = Metrics()
    inside = FailingStream()
    stream = MeasuredStream(inside, metrics.read_failed)
    calls: dict[str, Callable[[], object]] = {
        "DescribeStreamSummary": stream.summary,
        "ListShards": stream.shards,
        "GetShardIterator": lambda: stream.open(SHARD, TRIM_HORIZON),
        "GetRecords": lambda: stream.fetch("iterator", 1),
    }
    for name, call in calls.items():
        with pytest.raises(Throttled):
            call()
        assert metrics.read_failures[name, "LimitExceededException"] == 1
    inside.code = ""
    with pytest.raises(Throttled):
        stream.fetch("iterator", 1)
    assert metrics.read_failures["GetRecords", "Throttled"] == 1


def test_the_time_of_the_last_checkpoint_is_shown() -> None:
    """The metric is missing before the first checkpoint."""
    metrics = Metrics(wall_clock=lambda: 1.7e9)
    assert value(metrics, "last_checkpoint_timestamp_seconds") is None
    metrics.batch_delivered("s")
    assert value(metrics, "last_checkpoint_timestamp_seconds") == 1.7e9


def test_possible_losses_are_counted() -> None:
    """One metric counts how often, another counts the seconds."""
    metrics = Metrics()
    assert value(metrics, "trimmed_unread_total") == 0
    metrics.trimmed(3600.0)
    assert value(metrics, "trimmed_unread_total") == 1
    assert value(metrics, "trimmed_unread_seconds_total") == 3600.0


class FailingStream(QuietStream):
    """A stream whose calls all fail."""

    code = "LimitExceededException"

    def _refuse(self) -> NoReturn:
        error = Throttled()
        error.code = self.code
        raise error

    def summary(self) -> StreamSummary:
        self._refuse()

    def shards(self) -> Sequence[Shard]:
        self._refuse()

    def open(self, shard_id: str, position: Position) -> str:
        self._refuse()

    def fetch(self, iterator: str, limit: int, patient: bool = False) -> Fetched:
        self._refuse()


@pytest.mark.parametrize("event_type", ["call.+15550100000", "sms.15550100000", "two words.x", "one", "a." * 60 + "a"])
def test_an_event_type_that_may_contain_a_value_is_not_a_label(event_type: str) -> None:
    """Types come from outside. Only dotted names without long numbers are shown."""
    metrics = Metrics()
    metrics.records_delivered(1, 1, 0, [event_type])
    assert dict(metrics.skipped) == {"other": 1}


def test_the_number_of_event_type_labels_is_limited() -> None:
    """Producers must not be able to fill our memory."""
    metrics = Metrics()
    metrics.records_delivered(1, 1, 0, [f"com.example.t{number}" for number in range(200)])
    metrics.records_delivered(1, 1, 0, ["com.example.t3"])
    assert len(metrics.skipped) == MOST_TYPES + 1
    assert metrics.skipped["com.example.t3"] == 2
    assert metrics.skipped.total() == 201


def test_the_histogram_of_writes_is_cumulative() -> None:
    """Each bucket counts all faster writes, as Prometheus requires."""
    metrics = Metrics()
    for seconds in (0.003, 0.25, 0.3, 99.0):
        metrics.sink_wrote("rows", seconds, failed=seconds > 9)
    counts = {
        dict(labels)["le"]: count
        for (name, labels), count in scrape(metrics).items()
        if name == "call_consumer_sink_write_seconds_bucket" and ("sink", "rows") in labels
    }
    assert (counts["0.005"], counts["0.1"], counts["0.25"], counts["0.5"]) == (1, 1, 2, 3)
    assert (counts["30.0"], counts["+Inf"]) == (3, 4)
    assert value(metrics, "sink_write_seconds_sum", sink="rows") == pytest.approx(99.553)
    assert value(metrics, "sink_failures_total", sink="rows") == 1
    assert value(metrics, "sink_failures_total", sink="dead-letters") == 0


@pytest.mark.parametrize(
    ("error", "failed"),
    [(SinkUnavailable(), True), (ValueError(), True), (RowsRejected({0: "no"}), False), (OutputClosed(), False)],
)
def test_a_sink_that_rejects_rows_has_not_failed(
    error: Exception, failed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that will be retried counts as a failure. The caller gets the same error in both cases."""
    told: list[tuple[float, bool]] = []
    sink = StdoutSink(0)
    monkeypatch.setattr(sink, "write", _raising(error))
    with pytest.raises(type(error)):
        MeasuredSink(sink, lambda seconds, failed: told.append((seconds, failed))).write([])  # type: ignore[arg-type]
    assert [failed for _, failed in told] == [failed]


def test_failed_calls_to_the_lease_table_are_counted_by_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Successful calls are not counted, and the wrapped table behaves the same."""
    told: list[str] = []
    inside = MemoryLeaseTable()
    table = MeasuredLeaseTable(inside, told.append)
    table.create(Lease("shard-1"))
    assert [row.shard_id for row in table.scan()] == ["shard-1"]
    assert told == []
    for call in ("scan", "read", "create", "write", "want", "delete"):
        monkeypatch.setattr(inside, call, _raising(LeaseTableUnavailable()))
        arguments: list[Any] = {"scan": [], "want": [Lease("a"), "w"]}.get(call, [[]])
        with pytest.raises(LeaseTableUnavailable):
            getattr(table, call)(*arguments)
    assert told == ["scan", "read", "create", "write", "want", "delete"]


def _raising(error: Exception) -> Callable[..., Any]:
    def call(*_: object) -> Any:
        raise error

    return call


def test_a_shard_without_a_known_lag_counts_as_read() -> None:
    """Some emulators omit the lag, and the alert on unread shards must not fire."""
    metrics = Metrics(clock=FakeClock())
    metrics.shard_added("s")
    metrics.lag_reported("s", None)
    assert value(metrics, "shards_read") == 1
    assert value(metrics, "shard_lag_seconds", shard="s") is None
