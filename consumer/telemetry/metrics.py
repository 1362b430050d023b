"""Count what this process does, for the log, the summary at the end and `/metrics`.

Most counts change once per batch, so the lock costs little per record. Take a snapshot to show the counts.
"""

import re
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from consumer.records import Reason

# Producers choose event types, so this many become labels. All further ones count as OTHER_TYPES.
MOST_TYPES = 50
OTHER_TYPES = "other"
# An event type is shown only if it is a dotted name without digits that could be a phone number.
_SHOWABLE = re.compile(r"(?!.*\d{4})[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+")
_LONGEST_TYPE = 100
# These series exist from the start with 0, because an alert on a rise would miss a series that starts at 1.
SINKS = ("rows", "dead-letters")
LEASE_TABLE_CALLS = ("scan", "read", "create", "write", "want", "delete")
READ_FAILURES = [
    (call, code)
    for call in ("GetShardIterator", "GetRecords")
    for code in ("AccessDeniedException", "ProvisionedThroughputExceededException")
]
# A proxy may invent error codes, so this many become labels. All further ones count as OTHER_TYPES.
MOST_CODES = 50
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9.]{,99}")
# Seconds since the last response after which a shard of ours counts as not read. Reads are at most a minute apart.
READ_WITHIN = 90.0
# Upper bounds of the histogram of write times, in seconds. One more bucket counts slower writes.
WRITE_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class LeaseEvent(Enum):
    """Kinds of changes to our leases. Between changes, taken + accepted = held now + all kinds that end a hold."""

    TAKEN = "taken"
    ACCEPTED = "accepted"  # the row named us: a peer offered it, or an earlier process with our id held it
    WANTED = "wanted"  # we asked a peer for it
    OFFERED = "offered"  # we offered it to a peer: ends a hold
    ASSIGNED = "assigned"  # we assigned it to a KCL 3.x worker: ends a hold
    RELEASED = "released"  # the row has no owner now: ends a hold
    LOST = "lost"  # another worker owns it: ends a hold
    FINISHED = "finished"  # the shard was read to its end: ends a hold
    RENEWAL_FAILED = "renewal-failed"  # one call that should have renewed all leases


@dataclass(frozen=True, slots=True)
class ShardState:
    """State of a shard whose lease we hold. Times are seconds of the monotonic clock.

    `lag`: seconds behind the tip at the last response; None: unknown. `answered_at`: time of the last response.
    `unread_expires_at`: when the stream trims the oldest record that may be unread; None: unknown.
    """

    progress_at: float
    lag: float | None = None
    answered_at: float | None = None
    unread_expires_at: float | None = None

    def lag_at(self, now: float) -> float | None:
        """Return the lag in seconds, which grows while the shard is not read; None: unknown."""
        return None if self.lag is None or self.answered_at is None else self.lag + max(0.0, now - self.answered_at)

    def is_read(self, now: float) -> bool:
        """Return whether the stream responded to a read within `READ_WITHIN` seconds."""
        return self.answered_at is not None and now - self.answered_at <= READ_WITHIN


@dataclass(frozen=True, slots=True)
class WriteCounts:
    """The writes of one sink. `counts` has one count per bound of `WRITE_SECONDS` and one for slower writes."""

    counts: tuple[int, ...] = (0,) * (len(WRITE_SECONDS) + 1)
    seconds: float = 0.0
    failures: int = 0

    def with_write(self, seconds: float, failed: bool) -> "WriteCounts":
        """Return a copy with one more write."""
        bucket = bisect_left(WRITE_SECONDS, seconds)
        counts = (*self.counts[:bucket], self.counts[bucket] + 1, *self.counts[bucket + 1 :])
        return WriteCounts(counts, self.seconds + seconds, self.failures + failed)


@dataclass
class Metrics:
    """The counts of one process. Fetched records count after delivery, because a retry may decode them again."""

    fetched: int = 0
    user_records: int = 0
    out_of_range: int = 0
    rows_written: int = 0
    repeated: int = 0
    throttled: int = 0
    read_failures: Counter[tuple[str, str]] = field(default_factory=lambda: Counter(dict.fromkeys(READ_FAILURES, 0)))
    trimmed_times: int = 0
    trimmed_seconds: float = 0.0
    shards_to_read: int = 0
    shards_read_elsewhere: int = 0
    last_checkpoint: float | None = None
    skipped: Counter[str] = field(default_factory=Counter)
    dead_letters: Counter[Reason] = field(default_factory=Counter)
    dropped_events: Counter[Reason] = field(default_factory=Counter)
    halted: dict[str, int] = field(default_factory=dict)  # 1 for each of our shards that is halted
    lease_events: Counter[LeaseEvent] = field(default_factory=Counter)
    lease_table_failures: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(LEASE_TABLE_CALLS, 0)))
    shards: dict[str, ShardState] = field(default_factory=dict)
    writes: dict[str, WriteCounts] = field(default_factory=lambda: dict.fromkeys(SINKS, WriteCounts()))
    clock: Callable[[], float] = time.monotonic
    wall_clock: Callable[[], float] = time.time
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    # Records ---------------------------------------------------------------------------------------------------------

    def records_delivered(self, fetched: int, user_records: int, out_of_range: int, skipped: Iterable[str]) -> None:
        """Count records that were fetched, decoded and delivered. `skipped`: the type of each skipped event."""
        with self._lock:
            self.fetched += fetched
            self.user_records += user_records
            self.out_of_range += out_of_range
            for event_type in skipped:
                self.skipped[event_type if event_type in self.skipped else self._label(event_type)] += 1

    def _label(self, event_type: str) -> str:
        fits = len(self.skipped) < MOST_TYPES and len(event_type) <= _LONGEST_TYPE
        return event_type if fits and _SHOWABLE.fullmatch(event_type) else OTHER_TYPES

    def written(self, rows: int, repeated: int) -> None:
        """Count `rows` that a sink accepted, of which it already had `repeated`."""
        with self._lock:
            self.rows_written += rows - repeated
            self.repeated += repeated

    def dead_lettered(self, reason: Reason, letters: int) -> None:
        """Count dead letters of one reason."""
        with self._lock:
            self.dead_letters[reason] += letters

    def dropped(self, reason: Reason, events: int) -> None:
        """Count rejected events that a policy drops."""
        with self._lock:
            self.dropped_events[reason] += events

    def read_throttled(self) -> None:
        """Count a throttled read."""
        with self._lock:
            self.throttled += 1

    def read_failed(self, call: str, code: str) -> None:
        """Count a failed call to the stream. `code` is the error code of the service or of the network."""
        with self._lock:
            known = (call, code) in self.read_failures or len(self.read_failures) < MOST_CODES
            self.read_failures[call, code if known and _CODE.fullmatch(code) else OTHER_TYPES] += 1

    def trimmed(self, seconds: float) -> None:
        """Count a span of arrival time, in seconds, whose records may have been trimmed before they were read."""
        with self._lock:
            self.trimmed_times += 1
            self.trimmed_seconds += seconds

    # Shards and leases -----------------------------------------------------------------------------------------------

    def shard_added(self, shard_id: str) -> None:
        """Add a shard whose lease we hold now."""
        with self._lock:
            self.shards[shard_id] = ShardState(self.clock())

    def lag_reported(self, shard_id: str, seconds: float | None) -> None:
        """Note a response of the stream. `seconds` is the lag behind the tip; None: the response does not tell."""
        with self._lock:
            now, expires_at = self.clock(), self._expiry(shard_id)
            self.shards[shard_id] = ShardState(now, seconds, now, expires_at)

    def batch_delivered(self, shard_id: str) -> None:
        """Note that a batch of a shard was delivered and checkpointed."""
        with self._lock:
            self.last_checkpoint = self.wall_clock()
            if shard_id in self.shards:
                self.shards[shard_id] = replace(self.shards[shard_id], progress_at=self.clock())

    def unread_expires(self, shard_id: str, seconds: float) -> None:
        """Note in how many seconds the stream trims the oldest record of a shard that may be unread."""
        with self._lock:
            if shard_id in self.shards:
                state = replace(self.shards[shard_id], unread_expires_at=self.clock() + seconds)
                self.shards[shard_id] = state

    def _expiry(self, shard_id: str) -> float | None:
        return self.shards[shard_id].unread_expires_at if shard_id in self.shards else None

    def shards_counted(self, to_read: int, read_elsewhere: int) -> None:
        """Note a scan: the number of shards to read, and how many of them other live workers read."""
        with self._lock:
            self.shards_to_read, self.shards_read_elsewhere = to_read, read_elsewhere

    @property
    def shards_read(self) -> int:
        """Return how many shards are read: those of live peers, and ours with a recent response."""
        now = self.clock()
        return self.shards_read_elsewhere + sum(shard.is_read(now) for shard in self.shards.values())

    def shard_removed(self, shard_id: str) -> None:
        """Remove a shard whose lease we no longer hold."""
        with self._lock:
            self.shards.pop(shard_id, None)
            self.halted.pop(shard_id, None)

    def shard_halted(self, shard_id: str, *, halted: bool) -> None:
        """Note that a shard waits for an operator, or no longer."""
        with self._lock:
            self.halted = {name: 1 for name in {*self.halted, shard_id} if halted or name != shard_id}

    def lease_changed(self, event: LeaseEvent) -> None:
        """Count a change of a lease."""
        with self._lock:
            self.lease_events[event] += 1

    def lease_table_failed(self, call: str) -> None:
        """Count a failed call to the lease table. The table may have carried it out."""
        with self._lock:
            self.lease_table_failures[call] += 1

    # Sinks -----------------------------------------------------------------------------------------------------------

    def sink_wrote(self, sink: str, seconds: float, failed: bool) -> None:
        """Count a write to a sink and its seconds. Rejected rows are not a failure."""
        with self._lock:
            self.writes[sink] = self.writes[sink].with_write(seconds, failed)

    # Export ---------------------------------------------------------------------------------------------------------

    def snapshot(self) -> "Metrics":
        """Return a copy that no longer changes."""
        with self._lock:
            mappings: dict[str, Any] = {
                name: value.copy() for name, value in vars(self).items() if isinstance(value, dict)
            }
            return replace(self, **mappings)

    def summary(self) -> dict[str, int | float]:
        """Return the counts for a log line. `lag` is the longest of all shards, in seconds."""
        counts = self.snapshot()
        now = counts.clock()
        lags = [lag for shard in counts.shards.values() if (lag := shard.lag_at(now)) is not None]
        return {
            "fetched": counts.fetched,
            "user_records": counts.user_records,
            "written": counts.rows_written,
            "repeated": counts.repeated,
            "skipped": counts.skipped.total(),
            "dead_letters": counts.dead_letters.total(),
            "lag": round(max(lags, default=0.0), 3),
        }
