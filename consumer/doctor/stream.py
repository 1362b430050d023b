"""Can the stream be read, how far behind is each shard, and is it the stream that the lease rows belong to?"""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from consumer.doctor.questions import Finding, Level, Question, failed, ok, warning
from consumer.errors import ConsumerError, PositionUnknown, Throttled
from consumer.leases import Lease
from consumer.records import TRIM_HORIZON, Fetched, Position, PositionKind, Shard, StreamSummary
from consumer.shard.trimming import Span, unread
from consumer.streams import Stream

MOST_SHARDS = 20
# One read a second, a fifth of what AWS lets all readers of a shard do. A single refusal is no trouble for a worker.
TRIES, BETWEEN_TRIES = 3, 1.0
MOST_SKEW = 60.0  # seconds; AWS refuses requests that are five minutes off, and leases of others look dead before
TELL_FOR = timedelta(days=7)  # how long a loss is told of after it was found out
TRIMMED = "a worker found it trimmed unread; it may still be in an archive, or at the producer's"
NEARLY = 0.2  # of the retention: when unread records are to be trimmed so soon, somebody should know
REMEDIES = {
    "KMSAccessDeniedException": "allow kms:Decrypt on the stream's key, in the key's policy too",
    "KMSDisabledException": "enable the stream's KMS key",
    "KMSInvalidStateException": "look at the state of the stream's KMS key",
    "KMSNotFoundException": "the stream's KMS key is gone: give the stream another one",
    "AccessDeniedException": "allow kinesis:GetShardIterator and kinesis:GetRecords on the stream to these credentials",
    "lack a permission": "add it to the policy of these credentials",
    "ExpiredToken": "renew the credentials",
}
THROTTLED = (
    "others use up the 5 reads or 2 MB a second of this shard: stop one of them, give them enhanced fan-out, raise"
    " their intervals and --poll-interval, or add shards"
)


def check_stream(summary: StreamSummary, shards: Sequence[Shard], rows: Sequence[Lease]) -> Iterator[Finding]:
    """Look at what the stream says of itself, and at whether the rows belong to it."""
    about = f"{len(shards)} shards, made {summary.created_at:%F %T} UTC, keeps records for {_span(summary.retention)}"
    others = sorted(row.stream_created_at for row in rows if not summary.made_at(row.stream_created_at))  # type: ignore[type-var]
    if not summary.active:
        yield failed("stream", f"{summary.name} is not active: wait until it is made, or look at what becomes of it")
    elif others:
        yield failed(
            "stream",
            f"it was made again: the lease rows are of a stream {summary.name} made at {others[0]:%F %T} UTC, this one"
            f" was made at {summary.created_at:%F %T} UTC: name another --application or another lease table",
        )
    else:
        yield ok("stream", about)


def check_clock(summary: StreamSummary, now: datetime) -> Iterator[Finding]:
    """Hold this machine's clock against the service's."""
    skew = (now - summary.server_time).total_seconds()
    if abs(skew) > MOST_SKEW:
        side = "ahead of" if skew > 0 else "behind"
        yield failed("clock", f"it is {_span(abs(skew))} {side} the service's: set it, such as by NTP (chrony)")
    else:
        yield ok("clock", "agrees with the service's")


def to_read(shards: Sequence[Shard], rows: Mapping[str, Lease]) -> list[Shard]:
    """Return the shards that are not finished, open ones first."""
    unfinished = [shard for shard in shards if shard.shard_id not in rows or not rows[shard.shard_id].ended]
    return sorted(unfinished, key=lambda shard: (shard.closed, shard.shard_id))


class ShardExam:
    """Reads one shard once, where its reader would go on."""

    def __init__(
        self, stream: Stream, summary: StreamSummary, shard: Shard, row: Lease | None, start: Position
    ) -> None:
        self._stream, self._summary, self._shard = stream, summary, shard
        self._row, self._start = row, start

    def question(self) -> Question:
        """Return what to ask."""
        hangs = "this shard alone hangs if others answer: try again, and ask AWS support if it stays so"
        return Question(f"shard {self._shard.shard_id}", self.ask, hangs)

    def ask(self) -> Iterator[Finding]:
        """Read, and judge what comes."""
        what = f"shard {self._shard.shard_id}"
        try:
            fetched = self._fetch()
        except Throttled as error:
            yield failed(what, f"{error}: {THROTTLED}")
        except ConsumerError as error:
            yield failed(what, f"{error}{_remedy(error)}")
        else:
            yield ok(what, f"{_behind(fetched)}, {self._owner()}")
            yield from self._unread(what, fetched)

    def _fetch(self) -> Fetched:
        for _ in range(TRIES - 1):
            try:
                return self._stream.fetch(self._open(), 1)
            except Throttled:
                time.sleep(BETWEEN_TRIES)
        return self._stream.fetch(self._open(), 1)

    def _open(self) -> str:
        position = self._row.start if self._row is not None else self._start
        try:
            return self._stream.open(self._shard.shard_id, position)
        except PositionUnknown:  # trimmed; a worker reads from the beginning, too
            return self._stream.open(self._shard.shard_id, TRIM_HORIZON)

    def _owner(self) -> str:
        if self._row is None:
            return "never read so far"
        owner = self._row.checkpoint_owner or self._row.owner
        return f"read by {owner}" if owner is not None else "owned by nobody"

    def _unread(self, what: str, fetched: Fetched) -> Iterator[Finding]:
        """Tell what was trimmed unread, lately or since it was read last, and what will be soon."""
        if self._row is None:
            return
        told_until = timedelta(seconds=self._summary.retention) + TELL_FOR
        if self._row.lost_to is not None and self._summary.server_time - self._row.lost_to < told_until:
            start = f"from {self._row.lost_from:%F %T} " if self._row.lost_from is not None else ""
            span = Span(self._row.lost_from, self._row.lost_to)
            length = f" ({_span(span.seconds)})" if span.start is not None else ""
            yield warning(what, f"what arrived {start}to {span.end:%F %T} UTC{length} may be lost: {TRIMMED}")
        horizon = self._summary.server_time - timedelta(seconds=self._summary.retention)
        lost = unread(self._row, horizon)
        at = self._row.checkpoint
        first = fetched.records[0].sequence if fetched.records else None
        if (
            lost is not None
            and lost.start is not None
            and not (at.kind is PositionKind.SEQUENCE and first == at.sequence)
        ):
            yield warning(
                what,
                f"what arrived from {lost.start:%F %T} to {lost.end:%F %T} UTC ({_span(lost.seconds)}) may be lost: it"
                " was not read, and is older than the retention; start a worker, and raise the stream's retention",
            )
        elif (fetched.millis_behind or 0) / 1000 > (1 - NEARLY) * self._summary.retention:
            left = self._summary.retention - (fetched.millis_behind or 0) / 1000
            yield warning(what, f"unread records are trimmed in {_span(max(0.0, left))}: raise the stream's retention")


def together(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield each finding, but what failed in the same way for many shards only once, at the end."""
    alike: dict[str, list[str]] = defaultdict(list)
    for finding in findings:
        if finding.level is Level.FAILED:
            alike[finding.text].append(finding.what)
        else:
            yield finding
    for text, whats in alike.items():
        yield failed(whats[0] if len(whats) == 1 else f"{whats[0]} and {len(whats) - 1} more", text)


def _behind(fetched: Fetched) -> str:
    if fetched.millis_behind is None:
        return "can be read; it does not say how far from its tip"
    where = f"{_span(fetched.millis_behind / 1000)} behind" if fetched.millis_behind else "at its tip"
    return f"can be read, {where}"


def _remedy(error: ConsumerError) -> str:
    found = [remedy for code, remedy in REMEDIES.items() if code == error.code or code in str(error)]
    return f": {found[0]}" if found else ""


def _span(seconds: float) -> str:
    """A time as people say it, such as 36 h or 5 min."""
    for unit, length in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}".replace(".0 ", " ")
    return f"{seconds:.0f} s"


def local_time() -> datetime:
    """Return this machine's idea of the time."""
    return datetime.now(UTC)
