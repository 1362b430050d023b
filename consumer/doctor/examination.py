"""The order of questions: first what can be asked at once, then the shards, of which the stream has told."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from consumer.aws.credentials import SharedCredentials
from consumer.doctor.access import check_credentials
from consumer.doctor.places import check_dead_letters, check_leases, check_place, check_sink
from consumer.doctor.questions import Finding, Level, Question, answers, ok
from consumer.doctor.stream import (
    MOST_SHARDS,
    ShardExam,
    check_clock,
    check_stream,
    local_time,
    to_read,
    together,
)
from consumer.leases import Lease, LeaseTable
from consumer.records import Position, Shard, StreamSummary
from consumer.sinks import Sink
from consumer.streams import Stream

# Seconds. A client waits 10 s for a response; all of it has to be over within half a minute.
FIRST, SHARDS = 14.0, 12.0


@dataclass
class Examination:
    """Examines the parts of a worker. `folders`: where leases, sink and dead letters have their files, if any."""

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
        """Yield everything, what failed at the end."""
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
        yield from answers(self._first_questions(), FIRST)
        if self._summary is None:
            return
        yield from check_stream(self._summary, self._shards, self._found)
        rows = {row.shard_id: row for row in self._found}
        unfinished = to_read(self._shards, rows)
        exams = [
            ShardExam(self.stream, self._summary, shard, rows.get(shard.shard_id), self.start)
            for shard in unfinished[:MOST_SHARDS]
        ]
        yield from together(answers([exam.question() for exam in exams], SHARDS))
        if len(unfinished) > MOST_SHARDS:
            yield ok("shards", f"{len(unfinished) - MOST_SHARDS} more were not asked")

    def _first_questions(self) -> list[Question]:
        asks: dict[str, Callable[[], Iterable[Finding]]] = {
            "leases": lambda: check_leases(self.leases, self._found),
            "sink": lambda: check_sink(self.rows),
            "dead letters": lambda: check_dead_letters(self.dead_letters),
        }
        return [
            *(
                Question("credentials", partial(check_credentials, one, local_time()), f"{one.asking} does not answer")
                for one in self.credentials
            ),
            Question("stream", self._ask_stream),
            *(
                Question(what, partial(check_place, what, ask, self.folders[what]), "does its disk or server answer?")
                for what, ask in asks.items()
            ),
        ]

    def _ask_stream(self) -> Iterator[Finding]:
        summary = self.stream.summary()
        now = local_time()
        self._shards = self.stream.shards()
        self._summary = summary
        yield from check_clock(summary, now)
