"""Export the counts to Prometheus. Names and labels are public; docs/metrics.md explains each metric.

A scrape takes a snapshot and converts it. So the counting code does not depend on Prometheus, and a released shard
disappears with the next scrape.
"""

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from consumer.records import Reason
from consumer.telemetry.metrics import WRITE_SECONDS, LeaseEvent, Metrics, ShardState

PREFIX = "call_consumer_"


class Exposition:
    """Export the metrics of one process. `buffered` returns the bytes that all shards hold in memory."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, metrics: Metrics, buffered: Callable[[], int], version: str) -> None:
        self._metrics, self._buffered = metrics, buffered
        self._version = version
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)  # process_…: memory, CPU, open files

    def text(self) -> bytes:
        """Return the body of the response to a scrape."""
        return generate_latest(self._registry)

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that the registry does not collect during registration."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield every metric from one snapshot."""
        counts = self._metrics.snapshot()
        yield from _records(counts)
        yield from _reading(counts)
        yield from _shards(counts.shards, counts.clock())
        yield from _leases(counts)
        yield from _sinks(counts)
        yield _gauge("buffered_bytes", "Bytes of records that all shards hold in memory.", self._buffered())
        about = {"version": self._version, "python": platform.python_version()}
        build = GaugeMetricFamily(
            f"{PREFIX}build_info", "Always 1. The labels name the versions that run.", labels=list(about)
        )
        build.add_metric(list(about.values()), 1)
        yield build


def _records(counts: Metrics) -> Iterator[Metric]:
    yield _counter("fetched_records", "Kinesis records that were decoded and delivered.", counts.fetched)
    yield _counter(
        "user_records", "User records in the delivered Kinesis records, after KPL deaggregation.", counts.user_records
    )
    yield _counter(
        "out_of_range_user_records",
        "Delivered user records whose hash key is outside of the shard's range.",
        counts.out_of_range,
    )
    yield _counter("rows_written", "Rows that the sink wrote.", counts.rows_written)
    yield _counter("rows_repeated", "Rows that the sink already had.", counts.repeated)
    yield _counters("skipped_events", "Events of types that this program does not decode.", "type", counts.skipped)
    letters = {reason.value: counts.dead_letters[reason] for reason in Reason}
    yield _counters("dead_letters", "Events that became dead letters, by reason.", "reason", letters)
    dropped = {reason.value: counts.dropped_events[reason] for reason in Reason}
    yield _counters("dropped_events", "Rejected events that a policy drops, by reason.", "reason", dropped)
    yield _counter("throttled_reads", "Reads that the stream throttled.", counts.throttled)


def _reading(counts: Metrics) -> Iterator[Metric]:
    yield _gauge(
        "shards_to_read", "Shards of the stream that should be read now, by any worker.", counts.shards_to_read
    )
    yield _gauge("shards_read", "Shards of the stream that a live worker reads.", counts.shards_read)
    failures = CounterMetricFamily(
        f"{PREFIX}read_failures", "Failed calls to the stream, by AWS action and error code.", labels=["call", "code"]
    )
    for (call, code), number in counts.read_failures.items():
        failures.add_metric([call, code], number)
    yield failures
    yield _counter(
        "trimmed_unread", "How often records may have been trimmed before they were read.", counts.trimmed_times
    )
    yield _counter(
        "trimmed_unread_seconds",
        "Seconds of arrival time whose records may have been trimmed before they were read.",
        counts.trimmed_seconds,
    )
    if counts.last_checkpoint is not None:
        text = "Time of the last checkpoint, in seconds since the epoch."
        yield _gauge("last_checkpoint_timestamp_seconds", text, counts.last_checkpoint)


def _shards(shards: Mapping[str, ShardState], now: float) -> Iterator[Metric]:
    lags = {shard_id: lag for shard_id, state in shards.items() if (lag := state.lag_at(now)) is not None}
    text = "Seconds behind the tip of the shard at the last read, plus the seconds since that read."
    yield _gauges("shard_lag_seconds", text, "shard", lags)
    expiries = {
        shard_id: state.unread_expires_at - now
        for shard_id, state in shards.items()
        if state.unread_expires_at is not None
    }
    text = "Seconds until the stream trims the oldest record that may be unread."
    yield _gauges("shard_unread_expires_seconds", text, "shard", expiries)
    ages = {shard_id: max(0.0, now - state.progress_at) for shard_id, state in shards.items()}
    yield _gauges(
        "shard_progress_age_seconds", "Seconds since the last successful read or delivered batch.", "shard", ages
    )


def _leases(counts: Metrics) -> Iterator[Metric]:
    yield _gauge("leases_held", "Leases that this worker holds.", len(counts.shards))
    yield _gauges(
        "lease_held", "1 for each shard whose lease this worker holds.", "shard", dict.fromkeys(counts.shards, 1)
    )
    yield _gauge("shards_halted", "Shards of this worker that wait for an operator.", len(counts.halted))
    yield _gauges("shard_halted", "1 for each shard that waits for an operator.", "shard", counts.halted)
    events = {event.value: counts.lease_events[event] for event in LeaseEvent}
    yield _counters("lease_events", "Changes of this worker's leases, by kind.", "event", events)
    yield _counters(
        "lease_table_failures", "Failed calls to the lease table, by call.", "call", counts.lease_table_failures
    )


def _sinks(counts: Metrics) -> Iterator[Metric]:
    seconds = HistogramMetricFamily(
        f"{PREFIX}sink_write_seconds", "Seconds that a write to a sink took.", labels=["sink"]
    )
    failures = {sink: writes.failures for sink, writes in counts.writes.items()}
    for sink, writes in counts.writes.items():
        sums = [sum(writes.counts[: index + 1]) for index in range(len(writes.counts))]
        bounds = [*map(str, WRITE_SECONDS), "+Inf"]
        seconds.add_metric([sink], list(zip(bounds, map(float, sums), strict=True)), writes.seconds)
    yield seconds
    yield _counters("sink_failures", "Failed writes to a sink, which are retried.", "sink", failures)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(PREFIX + name, text, value=value)


def _counters(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    return _with_samples(CounterMetricFamily(PREFIX + name, text, labels=[label]), values)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(PREFIX + name, text, value=value)


def _gauges(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    return _with_samples(GaugeMetricFamily(PREFIX + name, text, labels=[label]), values)


def _with_samples(family: CounterMetricFamily | GaugeMetricFamily, values: Mapping[str, float]) -> Metric:
    for label_value, value in values.items():
        family.add_metric([label_value], value)
    return family
