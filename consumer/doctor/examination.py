"""Run the checks in order: first all that are independent, then one per shard that the stream lists."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from consumer.aws.credentials import SharedCredentials
from consumer.doctor.checks import Check, Finding, Level, ok, run_checks
from consumer.doctor.credentials import check_credentials
from consumer.doctor.storage import check_dead_letters, check_leases, check_sink, check_storage
from consumer.doctor.stream import (
    MAX_SHARDS,
    ShardCheck,
    check_clock,
    check_stream,
    local_time,
    merge_failures,
    to_read,
)
from consumer.leases import Lease, LeaseTable
from consumer.records import Position, Shard, StreamSummary
from consumer.sinks import Sink
from consumer.streams import Stream

# Seconds for the independent checks, and for all shards. A client waits 10 s for a response.
FIRST, SHARDS = 14.0, 12.0


@dataclass
class Examination:
    """The parts of a worker to check. `folders` maps leases, sink and dead letters to their folder, if they use one."""

    stream: Stream
    leases: LeaseTable
    rows: Sink
    dead_letters: Sink
    credentials: Sequence[SharedCredentials]
    folders: Mapping[str, Path | None]
    start: Position
    _summary: StreamSummary | None = None
    _shards: Sequence[Shard] = ()
    _found: list[Lease] = field(default_factory=list)

    def findings(self) -> Iterator[Finding]:
        """Yield all findings, with the failed ones at the end. Close the parts."""
        bad = []
        for finding in self._all():
            if finding.level is Level.FAILED:
                bad.append(finding)
            else:
                yield finding
        yield from bad
        for part in (self.leases, self.rows, self.dead_letters, self.stream):
            part.close()

    def _all(self) -> Iterator[Finding]:
        yield from run_checks(self._first_checks(), FIRST)
        if self._summary is None:
            return
        yield from check_stream(self._summary, self._shards, self._found)
        rows = {row.shard_id: row for row in self._found}
        unfinished = to_read(self._shards, rows)
        checks = [
            ShardCheck(self.stream, self._summary, shard, rows.get(shard.shard_id), self.start)
            for shard in unfinished[:MAX_SHARDS]
        ]
        yield from merge_failures(run_checks([shard.check() for shard in checks], SHARDS))
        if len(unfinished) > MAX_SHARDS:
            yield ok("shards", f"{len(unfinished) - MAX_SHARDS} more were not read")

    def _first_checks(self) -> list[Check]:
        storage: dict[str, Callable[[], Iterable[Finding]]] = {
            "leases": lambda: check_leases(self.leases, self._found),
            "sink": lambda: check_sink(self.rows),
            "dead letters": lambda: check_dead_letters(self.dead_letters),
        }
        return [
            *(
                Check("credentials", partial(check_credentials, one, local_time()), f"{one.asking} does not respond")
                for one in self.credentials
            ),
            Check("stream", self._check_stream),
            *(
                Check(what, partial(check_storage, what, check, self.folders[what]), "check its disk or server")
                for what, check in storage.items()
            ),
        ]

    def _check_stream(self) -> Iterator[Finding]:
        summary = self.stream.summary()
        now = local_time()
        self._shards = self.stream.shards()
        self._summary = summary
        yield from check_clock(summary, now)
