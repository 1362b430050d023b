"""Check at the start that existing checkpoints belong to the stream that is read."""

import structlog

from consumer.errors import ConfigurationError
from consumer.leases import LeaseTable
from consumer.records import StreamSummary


def check_existing_checkpoints(leases: LeaseTable, summary: StreamSummary) -> None:
    """Log that existing checkpoints override --from, and refuse those of a stream that was deleted.

    Raises:
        ConfigurationError: the checkpoints are of an earlier stream with the same name.
    """
    rows = leases.scan()
    if rows:
        note = "checkpoints, and where the first start began, win over --from"
        structlog.get_logger().info("checkpoints.found", shards=len(rows), note=note)
    for row in rows:
        if row.stream_created_at is not None and not summary.made_at(row.stream_created_at):
            raise ConfigurationError(
                f"the checkpoints are of another {summary.name!r}, made at {row.stream_created_at:%F %T}; this one"
                f" was made at {summary.created_at:%F %T}: name another --application or another lease table"
            )
