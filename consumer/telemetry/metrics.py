"""What the worker has counted since it started. Counted in whole batches, so the lock costs nothing a record."""

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from consumer.records import Reason

# Event types come from outside; more different ones than this are counted together.
MOST_TYPES = 50
OTHER_TYPES = "other"


@dataclass
class Metrics:
    """One process's counts. `fetched = written + repeated + ...` holds only once nothing is in flight."""

    fetched: int = 0
    user_records: int = 0
    out_of_range: int = 0
    rows_written: int = 0
    repeated: int = 0
    throttled: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    dead_letters: Counter[Reason] = field(default_factory=Counter)
    lag: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def read(self, fetched: int, user_records: int, out_of_range: int, skipped: Iterable[str]) -> None:
        """Records were fetched and decoded."""
        with self._lock:
            self.fetched += fetched
            self.user_records += user_records
            self.out_of_range += out_of_range
            for event_type in skipped:
                known = event_type in self.skipped or len(self.skipped) < MOST_TYPES
                self.skipped[event_type if known else OTHER_TYPES] += 1

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

    def behind(self, shard_id: str, seconds: float | None) -> None:
        """How far a shard is behind its tip; None: it is not ours any more."""
        with self._lock:
            if seconds is None:
                self.lag.pop(shard_id, None)
            else:
                self.lag[shard_id] = seconds

    def summary(self) -> dict[str, int | float]:
        """The counts for a log line."""
        with self._lock:
            return {
                "fetched": self.fetched,
                "user_records": self.user_records,
                "written": self.rows_written,
                "repeated": self.repeated,
                "skipped": self.skipped.total(),
                "dead_letters": self.dead_letters.total(),
                "lag": round(max(self.lag.values(), default=0.0), 3),
            }
