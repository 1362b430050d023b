"""Choose the position of a shard without a checkpoint."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from consumer.fleet.initial_position import LATEST_MARGIN, InitialPosition, first_read
from consumer.leases import Lease
from consumer.records import FULL_HASH_RANGE, LATEST, TRIM_HORIZON, Position, Shard, StreamSummary

LEFT = (0, FULL_HASH_RANGE[1] // 2)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)
MADE = NOON - timedelta(days=1)


def started(name: str, at: datetime | None, checkpoint: Position = TRIM_HORIZON) -> Lease:
    return Lease(name, checkpoint, started_at=at)


@pytest.mark.parametrize(
    ("mine", "rows", "position", "at"),
    [
        (InitialPosition(LATEST, LATER, MADE), [], LATEST, LATER),
        (InitialPosition(TRIM_HORIZON, LATER, MADE), [], TRIM_HORIZON, LATER),
        (InitialPosition(LATEST, LATER, MADE), [started("a", NOON, LATEST)], LATEST, NOON),
        (InitialPosition(TRIM_HORIZON, LATER, MADE), [started("a", NOON, LATEST)], LATEST, NOON),
        (InitialPosition(LATEST, LATER, MADE), [started("a", NOON), started("b", LATER)], LATEST, NOON),
        (InitialPosition(TRIM_HORIZON, None, MADE), [started("a", LATER), started("b", NOON)], TRIM_HORIZON, NOON),
        (InitialPosition(LATEST, LATER, MADE), [started("a", NOON), started("b", None)], TRIM_HORIZON, None),
        (InitialPosition(LATEST, LATER, MADE), [started("a", None)], TRIM_HORIZON, None),
    ],
)
def test_a_new_row_starts_where_the_application_first_started(
    mine: InitialPosition, rows: Sequence[Lease], position: Position, at: datetime | None
) -> None:
    """The earliest instant on the rows wins over `--from`. Rows of a KCL have none."""
    following = mine.following(rows)
    assert following == InitialPosition(position, at, MADE)
    made = following.lease(Shard("new", ("root",), LEFT))
    assert (made.started_at, made.checkpoint, made.stream_created_at) == (at, position, MADE)
    assert (made.shard_id, made.parents, made.hash_range) == ("new", ("root",), LEFT)


@pytest.mark.parametrize(
    ("start", "position", "at", "first"),
    [
        ("trim-horizon", TRIM_HORIZON, None, TRIM_HORIZON),
        ("latest", LATEST, NOON - LATEST_MARGIN, LATEST),
        (LATER, TRIM_HORIZON, LATER, Position.at_timestamp(LATER)),
    ],
)
def test_from_chooses_the_position_and_the_instant_of_the_first_rows(
    start: str | datetime, position: Position, at: datetime | None, first: Position
) -> None:
    """LATEST is the service's time, a little earlier, because clocks differ."""
    summary = StreamSummary("calls", True, MADE, NOON)
    assert InitialPosition.chosen(start, summary) == InitialPosition(position, at, MADE)  # type: ignore[arg-type]
    assert first_read(start) == first  # type: ignore[arg-type]
