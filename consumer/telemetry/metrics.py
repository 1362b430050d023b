"""What the worker has counted since it started: the one place of counts, for the log, the last line and `/metrics`.

Counted in whole batches, so the lock costs nothing a record. Whoever wants to show the counts takes a snapshot.
"""

import re
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import Enum

from consumer.records import Reason

# Event types come from outside; more different ones than this are counted together.
MOST_TYPES = 50
OTHER_TYPES = "other"
# What may be shown of a type: a dotted name without anything that could be a number of somebody.
_SHOWABLE = re.compile(r"(?!.*\d{4})[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+")
_LONGEST_TYPE = 100
# What has a count from the start, 0 included: an alert on a rise would miss a series that begins with 1.
SINKS = ("rows", "dead-letters")
LEASE_TABLE_CALLS = ("scan", "read", "create", "write", "want", "delete")
READ_FAILURES = [
    (call, code)
    for call in ("GetShardIterator", "GetRecords")
    for code in ("AccessDeniedException", "ProvisionedThroughputExceededException")
]
# Codes come from the service or from a proxy on the way; more different ones than this are counted together.
MOST_CODES = 50
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9.]{,99}")
# A shard of ours that was not answered for so long, seconds, is not read. Reads are at most a minute apart.
READ_WITHIN = 90.0
# Upper bounds of the histogram of write times, seconds; a last bucket takes the rest.
WRITE_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class LeaseEvent(Enum):
    """What happened to a lease. With nothing under way, taken + accepted = held now + all that end a hold."""

    TAKEN = "taken"
    ACCEPTED = "accepted"  # the row named us: an offer, or ours from a former life
    WANTED = "wanted"  # a peer was asked for it
    OFFERED = "offered"  # to a peer: ends a hold
    ASSIGNED = "assigned"  # to a KCL 3.x worker: ends a hold
    RELEASED = "released"  # to nobody: ends a hold
    LOST = "lost"  # to somebody else: ends a hold
    FINISHED = "finished"  # the shard has ended: ends a hold
    RENEWAL_FAILED = "renewal-failed"  # one call that renews all leases


@dataclass(frozen=True, slots=True)
class ShardState:
    """One shard that is ours; instants are our clock's.

    `lag`: seconds behind the tip, None before the first response, which came at `answered_at`. `unread_expires_at`:
    when the oldest record that may be unread is trimmed, if that is known.
    """

    progress_at: float
    lag: float | None = None
    answered_at: float | None = None
    unread_expires_at: float | None = None

    def lag_at(self, now: float) -> float | None:
        """Return the lag, which grows while the shard is not read."""
        return None if self.lag is None or self.answered_at is None else self.lag + max(0.0, now - self.answered_at)

    def is_read(self, now: float) -> bool:
        """Return whether a read was answered lately."""
        return self.answered_at is not None and now - self.answered_at <= READ_WITHIN


@dataclass(frozen=True, slots=True)
class Writes:
    """The writes of one sink: how many took how long (one count a bound of `WRITE_SECONDS`, and the rest), failures."""

    counts: tuple[int, ...] = (0,) * (len(WRITE_SECONDS) + 1)
    seconds: float = 0.0
    failures: int = 0

    def and_one(self, seconds: float, failed: bool) -> "Writes":
        """These writes and another one."""
        bucket = bisect_left(WRITE_SECONDS, seconds)
        counts = (*self.counts[:bucket], self.counts[bucket] + 1, *self.counts[bucket + 1 :])
        return Writes(counts, self.seconds + seconds, self.failures + failed)


@dataclass
class Metrics:
    """One process's counts. What is fetched counts once it is delivered: until then it may be decoded again."""

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
    lease_events: Counter[LeaseEvent] = field(default_factory=Counter)
    lease_table_failures: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(LEASE_TABLE_CALLS, 0)))
    shards: dict[str, ShardState] = field(default_factory=dict)
    writes: dict[str, Writes] = field(default_factory=lambda: dict.fromkeys(SINKS, Writes()))
    clock: Callable[[], float] = time.monotonic
    wall_clock: Callable[[], float] = time.time
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    # Records ---------------------------------------------------------------------------------------------------------

    def read(self, fetched: int, user_records: int, out_of_range: int, skipped: Iterable[str]) -> None:
        """Records were fetched, decoded and delivered."""
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
        """A sink took `rows`, of which it had `repeated` already."""
        with self._lock:
            self.rows_written += rows - repeated
            self.repeated += repeated

    def dead_lettered(self, reason: Reason, letters: int) -> None:
        """So many dead letters for one reason."""
        with self._lock:
            self.dead_letters[reason] += letters

    def throttle(self) -> None:
        """The stream refused a read."""
        with self._lock:
            self.throttled += 1

    def read_failed(self, call: str, code: str) -> None:
        """A call to the stream failed, for what the service, or the way to it, calls `code`."""
        with self._lock:
            known = (call, code) in self.read_failures or len(self.read_failures) < MOST_CODES
            self.read_failures[call, code if known and _CODE.fullmatch(code) else OTHER_TYPES] += 1

    def trimmed(self, seconds: float) -> None:
        """Records of so many seconds may have been trimmed before they were read."""
        with self._lock:
            self.trimmed_times += 1
            self.trimmed_seconds += seconds

    # Shards and leases -----------------------------------------------------------------------------------------------

    def held(self, shard_id: str) -> None:
        """A shard is ours from now on."""
        with self._lock:
            self.shards[shard_id] = ShardState(self.clock())

    def behind(self, shard_id: str, seconds: float | None) -> None:
        """A read was answered, so far behind the shard's tip; None: the response does not say how far."""
        with self._lock:
            now, expires_at = self.clock(), self._expiry(shard_id)
            self.shards[shard_id] = ShardState(now, seconds, now, expires_at)

    def progressed(self, shard_id: str) -> None:
        """A batch of a shard was delivered and its checkpoint moved."""
        with self._lock:
            self.last_checkpoint = self.wall_clock()
            if shard_id in self.shards:
                self.shards[shard_id] = replace(self.shards[shard_id], progress_at=self.clock())

    def unread_expires(self, shard_id: str, seconds: float) -> None:
        """The oldest record of a shard that may be unread is trimmed in so many seconds."""
        with self._lock:
            if shard_id in self.shards:
                state = replace(self.shards[shard_id], unread_expires_at=self.clock() + seconds)
                self.shards[shard_id] = state

    def _expiry(self, shard_id: str) -> float | None:
        return self.shards[shard_id].unread_expires_at if shard_id in self.shards else None

    def seen(self, to_read: int, read_elsewhere: int) -> None:
        """The lease table was looked at: so many shards are to be read, so many of them are other live workers'."""
        with self._lock:
            self.shards_to_read, self.shards_read_elsewhere = to_read, read_elsewhere

    @property
    def shards_read(self) -> int:
        """Return how many shards are read: those of other live workers, and ours that were answered lately."""
        now = self.clock()
        return self.shards_read_elsewhere + sum(shard.is_read(now) for shard in self.shards.values())

    def left(self, shard_id: str) -> None:
        """A shard is not ours any more."""
        with self._lock:
            self.shards.pop(shard_id, None)

    def leased(self, event: LeaseEvent) -> None:
        """Something happened to a lease."""
        with self._lock:
            self.lease_events[event] += 1

    def lease_table_failed(self, call: str) -> None:
        """A call to the lease table was not answered; it may have been carried out."""
        with self._lock:
            self.lease_table_failures[call] += 1

    # Sinks -----------------------------------------------------------------------------------------------------------

    def sink_wrote(self, sink: str, seconds: float, failed: bool) -> None:
        """A sink was called; rows that it rejects are no failure of its."""
        with self._lock:
            self.writes[sink] = self.writes[sink].and_one(seconds, failed)

    # Showing ---------------------------------------------------------------------------------------------------------

    def snapshot(self) -> "Metrics":
        """A copy that no longer changes."""
        with self._lock:
            return replace(
                self,
                skipped=self.skipped.copy(),
                dead_letters=self.dead_letters.copy(),
                lease_events=self.lease_events.copy(),
                lease_table_failures=self.lease_table_failures.copy(),
                read_failures=self.read_failures.copy(),
                shards=self.shards.copy(),
                writes=self.writes.copy(),
            )

    def summary(self) -> dict[str, int | float]:
        """The counts for a log line."""
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
