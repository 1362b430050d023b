"""Compare existing checkpoints with the stream at the start."""

from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from consumer.errors import ConfigurationError
from consumer.fleet.existing_checkpoints import check_existing_checkpoints
from consumer.leases import Lease
from consumer.leases.memory import MemoryLeaseTable
from consumer.records import SHARD_END, Position, StreamSummary

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SUMMARY = StreamSummary("calls", True, NOON - timedelta(days=9), NOON)


def note_for(*rows: Lease, replay: bool = False) -> str:
    """Return the note about existing checkpoints, or "" if there is none."""
    table = MemoryLeaseTable()
    for row in rows:
        table.create(row)
    with capture_logs() as logs:
        check_existing_checkpoints(table, SUMMARY, replay)
    return "".join(str(line["note"]) for line in logs)


def test_without_checkpoints_nothing_is_logged() -> None:
    """It is the first start, and --from counts."""
    assert note_for() == ""


def test_with_checkpoints_the_log_says_how_far_the_stream_is_read() -> None:
    """The slowest unfinished shard decides."""
    rows = [
        Lease("a", Position.of(1), read_to=NOON - timedelta(minutes=7)),
        Lease("b", Position.of(1), read_to=NOON),
        Lease("c", SHARD_END),
    ]
    expected = "calls was already read up to 2026-01-01 11:53:00 UTC; to read it again, pass --application NEW"
    assert note_for(*rows) == f"--from is ignored: {expected}"


def test_an_unknown_read_time_is_left_out() -> None:
    """A KCL stores none."""
    assert "was already read; to" in note_for(Lease("a", Position.of(1)), Lease("b", Position.of(1), read_to=NOON))


def test_checkpoints_of_an_earlier_stream_are_rejected() -> None:
    """They mean nothing in a stream that was created again under the same name."""
    earlier = NOON - timedelta(days=99)
    with pytest.raises(ConfigurationError, match=r"belong to another 'calls'.*choose another --application"):
        note_for(Lease("a", Position.of(1), stream_created_at=earlier))


def test_a_replay_with_checkpoints_says_that_it_continues() -> None:
    """Its name contains its bounds, so no flag is ignored."""
    note = note_for(Lease("a", Position.of(1), read_to=NOON), replay=True)
    assert note == "this replay began before and continues at 2026-01-01 12:00:00 UTC"
