"""Check at the start that existing checkpoints belong to the stream that is read."""

from collections.abc import Sequence

from consumer.errors import ConfigurationError
from consumer.leases import Lease, LeaseTable
from consumer.records import StreamSummary
from consumer.structured_log import structlog


def check_existing_checkpoints(leases: LeaseTable, summary: StreamSummary, replay: bool = False) -> None:
    """Log that --from is ignored when there are checkpoints, and reject checkpoints of a deleted stream.

    Those of a `replay` are its own, because their name contains its bounds.

    Raises:
        ConfigurationError: the checkpoints belong to an earlier stream with the same name.
    """
    rows = leases.scan()
    if rows:
        read = f"{summary.name} was already read{_until(rows)}"
        note = f"--from is ignored: {read}; to read it again, pass --application NEW"
        if replay:
            note = f"this replay began before and continues{_until(rows, ' at')}"
        structlog.get_logger().info("checkpoints.found", shards=len(rows), note=note)
    for row in rows:
        if row.stream_created_at is not None and not summary.made_at(row.stream_created_at):
            raise ConfigurationError(
                f"the checkpoints belong to another {summary.name!r}, created at {row.stream_created_at:%F %T}; this"
                f" one was created at {summary.created_at:%F %T}: choose another --application or another lease table"
            )


def _until(rows: Sequence[Lease], word: str = " up to") -> str:
    """Return `word` and the time up to which all unfinished shards are read, or "" if it is unknown."""
    times = [row.read_to for row in rows if not row.ended]
    known = [time for time in times if time is not None]
    return f"{word} {min(known):%F %T} UTC" if known and len(known) == len(times) else ""
