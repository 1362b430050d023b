"""The counts as Prometheus reads them. Names and labels stay; docs/deploying.md says what each is good for.

Nothing is registered anywhere: a scrape takes a snapshot and writes it down, so counting knows no Prometheus, and a
shard that is not ours any more is simply not in the next answer.
"""

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from consumer.records import Reason
from consumer.telemetry.metrics import WRITE_SECONDS, LeaseEvent, Metrics, ShardState

PREFIX = "call_consumer_"


class Exposition:
    """Writes the metrics of one process. `buffered`: bytes that all shards hold in memory."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, metrics: Metrics, buffered: Callable[[], int], version: str) -> None:
        self._metrics, self._buffered = metrics, buffered
        self._version = version
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)  # memory, CPU, open files: process_…

    def text(self) -> bytes:
        """What a scrape is answered."""
        return generate_latest(self._registry)

    def describe(self) -> Iterable[Metric]:
        """Nothing may be asked for by name before it is collected."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Every metric, of one instant."""
        counts = self._metrics.snapshot()
        yield from _records(counts)
        yield from _reading(counts)
        yield from _shards(counts.shards, counts.clock())
        yield from _leases(counts)
        yield from _sinks(counts)
        yield _gauge("buffered_bytes", "Bytes of records that all shards hold in memory.", self._buffered())
        about = {"version": self._version, "python": platform.python_version()}
        build = GaugeMetricFamily(f"{PREFIX}build_info", "1; the labels say what is running.", labels=list(about))
        build.add_metric(list(about.values()), 1)
        yield build


def _records(counts: Metrics) -> Iterator[Metric]:
    yield _counter("fetched_records", "Kinesis records decoded and delivered.", counts.fetched)
    yield _counter("user_records", "Producers' records in them, KPL aggregates taken apart.", counts.user_records)
    yield _counter(
        "out_of_range_user_records", "User records whose hash key is not the shard's; kept.", counts.out_of_range
    )
    yield _counter("rows_written", "Rows that the sink took.", counts.rows_written)
    yield _counter("rows_repeated", "Rows that the sink had already.", counts.repeated)
    yield _counters("skipped_events", "Events of types that are not decoded.", "type", counts.skipped)
    letters = {reason.value: counts.dead_letters[reason] for reason in Reason}
    yield _counters("dead_letters", "Events that could not become a row.", "reason", letters)
    yield _counter("throttled_reads", "Calls to the stream refused for its limits.", counts.throttled)


def _reading(counts: Metrics) -> Iterator[Metric]:
    yield _gauge("shards_to_read", "Shards of the stream that some worker should read now.", counts.shards_to_read)
    yield _gauge("shards_read", "Those that a live worker reads.", counts.shards_read)
    failures = CounterMetricFamily(f"{PREFIX}read_failures", "Failed calls to the stream.", labels=["call", "code"])
    for (call, code), number in counts.read_failures.items():
        failures.add_metric([call, code], number)
    yield failures
    yield _counter(
        "trimmed_unread", "Times that records may have been trimmed before they were read.", counts.trimmed_times
    )
    yield _counter(
        "trimmed_unread_seconds", "Seconds whose records may have been trimmed unread.", counts.trimmed_seconds
    )
    if counts.last_checkpoint is not None:
        text = "When a checkpoint moved last, in epoch seconds."
        yield _gauge("last_checkpoint_timestamp_seconds", text, counts.last_checkpoint)


def _shards(shards: Mapping[str, ShardState], now: float) -> Iterator[Metric]:
    lags = {shard_id: lag for shard_id, state in shards.items() if (lag := state.lag_at(now)) is not None}
    text = "How far the last answer was from the shard's tip, and the seconds since it came."
    yield _gauges("shard_lag_seconds", text, "shard", lags)
    expiries = {
        shard_id: state.unread_expires_at - now
        for shard_id, state in shards.items()
        if state.unread_expires_at is not None
    }
    text = "Until the oldest record that may be unread is trimmed."
    yield _gauges("shard_unread_expires_seconds", text, "shard", expiries)
    ages = {shard_id: max(0.0, now - state.progress_at) for shard_id, state in shards.items()}
    yield _gauges("shard_progress_age_seconds", "Since the last answered read or delivered batch.", "shard", ages)


def _leases(counts: Metrics) -> Iterator[Metric]:
    yield _gauge("leases_held", "Shards that this worker reads.", len(counts.shards))
    yield _gauges("lease_held", "1 for each shard that this worker reads.", "shard", dict.fromkeys(counts.shards, 1))
    events = {event.value: counts.lease_events[event] for event in LeaseEvent}
    yield _counters("lease_events", "What happened to leases of this worker.", "event", events)
    yield _counters(
        "lease_table_failures", "Calls to the lease table without an answer.", "call", counts.lease_table_failures
    )


def _sinks(counts: Metrics) -> Iterator[Metric]:
    seconds = HistogramMetricFamily(f"{PREFIX}sink_write_seconds", "Time of a sink's writes.", labels=["sink"])
    failures = {sink: writes.failures for sink, writes in counts.writes.items()}
    for sink, writes in counts.writes.items():
        sums = [sum(writes.counts[: place + 1]) for place in range(len(writes.counts))]
        bounds = [*map(str, WRITE_SECONDS), "+Inf"]
        seconds.add_metric([sink], list(zip(bounds, map(float, sums), strict=True)), writes.seconds)
    yield seconds
    yield _counters("sink_failures", "Writes that failed and are tried again.", "sink", failures)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(PREFIX + name, text, value=value)


def _counters(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(PREFIX + name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(PREFIX + name, text, value=value)


def _gauges(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
