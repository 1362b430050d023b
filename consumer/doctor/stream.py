"""Check that the stream can be read, how far behind each shard is, and that the lease rows belong to this stream."""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from consumer.doctor.checks import Check, Finding, Level, failed, ok, warning
from consumer.errors import ConsumerError, PositionUnknown, Throttled
from consumer.leases import Lease
from consumer.records import TRIM_HORIZON, Fetched, Position, PositionKind, Shard, StreamSummary
from consumer.runtime.durations import span
from consumer.shard.trimming import Span, unread
from consumer.streams import Stream

MAX_SHARDS = 20
# AWS allows five reads per second and shard, so retry once a second. A worker also survives one throttled read.
TRIES, RETRY_INTERVAL = 3, 1.0
MAX_SKEW = 60.0  # seconds; AWS rejects requests that are five minutes off
REPORT_LOSS_FOR = timedelta(days=7)  # how long a found loss stays in the findings
TRIMMED = "a worker found records trimmed unread; an archive or the producer may still have them"
WARN_BELOW = 0.2  # fraction of the retention; warn when unread records expire sooner
REMEDIES = {
    "KMSAccessDeniedException": "allow kms:Decrypt on the stream's key, also in the key policy",
    "KMSDisabledException": "enable the stream's KMS key",
    "KMSInvalidStateException": "check the state of the stream's KMS key",
    "KMSNotFoundException": "the stream's KMS key does not exist: set another key on the stream",
    "AccessDeniedException": "allow kinesis:GetShardIterator and kinesis:GetRecords on this stream",
    "lack a permission": "add it to the policy of these credentials",
    "ExpiredToken": "renew the credentials",
}
THROTTLED = (
    "other readers use up the 5 reads or 2 MB per second of this shard: stop one, give them enhanced fan-out, raise"
    " their intervals and --poll-interval, or add shards"
)


def check_stream(summary: StreamSummary, shards: Sequence[Shard], rows: Sequence[Lease]) -> Iterator[Finding]:
    """Check the state of the stream, and that the lease rows belong to it."""
    about = f"{len(shards)} shards, created {summary.created_at:%F %T} UTC, retention {span(summary.retention)}"
    others = sorted(row.stream_created_at for row in rows if not summary.made_at(row.stream_created_at))  # type: ignore[type-var]
    if not summary.active:
        yield failed("stream", f"{summary.name} is not active: wait until it is, or check its status")
    elif others:
        yield failed(
            "stream",
            f"it was created again: the lease rows belong to a stream created at {others[0]:%F %T} UTC, this one was"
            f" created at {summary.created_at:%F %T} UTC: choose another --application or another lease table",
        )
    else:
        yield ok("stream", about)


def check_clock(summary: StreamSummary, now: datetime) -> Iterator[Finding]:
    """Compare this machine's clock with the clock of the service."""
    skew = (now - summary.server_time).total_seconds()
    if abs(skew) > MAX_SKEW:
        side = "ahead of" if skew > 0 else "behind"
        yield failed(
            "clock",
            f"it is {span(abs(skew))} {side} the clock of the service: synchronize it, such as by NTP",
        )
    else:
        yield ok("clock", "agrees with the clock of the service")


def to_read(shards: Sequence[Shard], rows: Mapping[str, Lease]) -> list[Shard]:
    """Return the unfinished shards, open ones first."""
    unfinished = [shard for shard in shards if shard.shard_id not in rows or not rows[shard.shard_id].ended]
    return sorted(unfinished, key=lambda shard: (shard.closed, shard.shard_id))


class ShardCheck:
    """Read one shard once, from the position where a worker would start."""

    def __init__(
        self, stream: Stream, summary: StreamSummary, shard: Shard, row: Lease | None, start: Position
    ) -> None:
        self._stream, self._summary, self._shard = stream, summary, shard
        self._row, self._start = row, start

    def check(self) -> Check:
        """Return the check of this shard."""
        hangs = "if other shards respond, only this one hangs: try again, then ask AWS support"
        return Check(f"shard {self._shard.shard_id}", self.run, hangs)

    def run(self) -> Iterator[Finding]:
        """Read the shard, and report its lag, owner and losses."""
        what = f"shard {self._shard.shard_id}"
        try:
            fetched = self._fetch()
        except Throttled as error:
            yield failed(what, f"{error}: {THROTTLED}")
        except ConsumerError as error:
            yield failed(what, f"{error}{_remedy(error)}")
        else:
            yield ok(what, f"{_behind(fetched)}, {self._owner()}")
            yield from self._losses(what, fetched)

    def _fetch(self) -> Fetched:
        for _ in range(TRIES - 1):
            try:
                return self._stream.fetch(self._open(), 1)
            except Throttled:
                time.sleep(RETRY_INTERVAL)
        return self._stream.fetch(self._open(), 1)

    def _open(self) -> str:
        position = self._row.start if self._row is not None else self._start
        try:
            return self._stream.open(self._shard.shard_id, position)
        except PositionUnknown:  # trimmed: a worker starts at the oldest record, too
            return self._stream.open(self._shard.shard_id, TRIM_HORIZON)

    def _owner(self) -> str:
        if self._row is None:
            return "not read yet"
        owner = self._row.checkpoint_owner or self._row.owner
        return f"read by {owner}" if owner is not None else "without an owner"

    def _losses(self, what: str, fetched: Fetched) -> Iterator[Finding]:
        """Report records that were trimmed unread, and unread records that will be trimmed soon."""
        if self._row is None:
            return
        reported_for = timedelta(seconds=self._summary.retention) + REPORT_LOSS_FOR
        if self._row.lost_to is not None and self._summary.server_time - self._row.lost_to < reported_for:
            start = f"from {self._row.lost_from:%F %T} " if self._row.lost_from is not None else ""
            found = Span(self._row.lost_from, self._row.lost_to)
            length = f" ({span(found.seconds)})" if found.start is not None else ""
            yield warning(what, f"records that arrived {start}to {found.end:%F %T} UTC{length} may be lost: {TRIMMED}")
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
                f"records that arrived {lost.start:%F %T} to {lost.end:%F %T} UTC ({span(lost.seconds)}) may be lost:"
                " they are unread and older than the retention; start a worker, and raise the retention of the stream",
            )
        elif (fetched.millis_behind or 0) / 1000 > (1 - WARN_BELOW) * self._summary.retention:
            left = self._summary.retention - (fetched.millis_behind or 0) / 1000
            yield warning(
                what,
                f"the stream trims unread records in {span(max(0.0, left))}: raise the retention",
            )


def merge_failures(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Merge failures that have the same text, and yield them after all other findings."""
    same: dict[str, list[str]] = defaultdict(list)
    for finding in findings:
        if finding.level is Level.FAILED:
            same[finding.text].append(finding.what)
        else:
            yield finding
    for text, whats in same.items():
        yield failed(whats[0] if len(whats) == 1 else f"{whats[0]} and {len(whats) - 1} more", text)


def _behind(fetched: Fetched) -> str:
    if fetched.millis_behind is None:
        return "can be read; the response does not tell the lag"
    lag = f"{span(fetched.millis_behind / 1000)} behind" if fetched.millis_behind else "at its tip"
    return f"can be read, {lag}"


def _remedy(error: ConsumerError) -> str:
    found = [remedy for code, remedy in REMEDIES.items() if code == error.code or code in str(error)]
    return f": {found[0]}" if found else ""


def local_time() -> datetime:
    """Return the time of this machine's clock, in UTC."""
    return datetime.now(UTC)
