"""Test the share of the time that a replay has read."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from consumer.errors import LeaseTableUnavailable
from consumer.leases import Lease
from consumer.records import SHARD_END, Position
from consumer.replay.bounds import Bounds
from consumer.replay.progress import Progress, covered

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
HOUR = Bounds(NOON, NOON + timedelta(hours=1))


def row(shard_id: str, minutes: float | None = None, ended: bool = False, parents: tuple[str, ...] = ()) -> Lease:
    read_to = NOON + timedelta(minutes=minutes) if minutes is not None else None
    return Lease(shard_id, SHARD_END if ended else Position.of(1), parents, read_to=read_to)


@pytest.mark.parametrize(
    ("rows", "share"),
    [
        ([], 0.0),
        ([row("a")], 0.0),
        ([row("a", 30), row("b", 60)], 0.75),
        ([row("a", 90), row("b", -10)], 0.5),
        ([row("a", 30), row("b", parents=("a",)), row("c", parents=("a",))], 0.5),
        ([row("a", 30, ended=True), row("b", parents=("a",)), row("c", 45, parents=("a",))], 0.625),
        ([row("a", 30, ended=True)], 1.0),
    ],
    ids=str,
)
def test_the_share_is_the_mean_of_the_shards_that_are_read(rows: list[Lease], share: float) -> None:
    """A child continues where its parent ended, and does not count while it waits."""
    assert covered(rows, HOUR, NOON - timedelta(days=1)) == pytest.approx(share)


def test_time_before_the_oldest_record_does_not_count() -> None:
    """A week is asked for, but the stream keeps a day."""
    bounds = Bounds(NOON - timedelta(days=7), NOON + timedelta(hours=1))
    assert covered([row("a", 30)], bounds, NOON) == pytest.approx(0.5)
    assert covered([row("a", 30)], Bounds("trim-horizon", bounds.end), NOON) == pytest.approx(0.5)


def test_shards_that_were_not_chosen_do_not_count() -> None:
    bounds = Bounds(HOUR.start, HOUR.end, ("a",))
    assert covered([row("a", 30), row("b", 60)], bounds, NOON) == pytest.approx(0.5)


def test_the_task_tells_share_rows_and_rate() -> None:
    """The lease table is scanned every few seconds at most. If it fails, the last share counts; it never falls."""
    minutes, scans, told = [0.0], [0], []

    def scan() -> Sequence[Lease]:
        scans[0] += 1
        if minutes[0] < 0:
            raise LeaseTableUnavailable
        return [row("a", minutes[0])]

    rows = [0]
    task = Progress(scan, lambda: rows[0], HOUR, NOON, lambda *shown: told.append(shown))
    steps = [(0.0, 0.0, 0), (1.0, 30.0, 0), (10.0, 30.0, 900), (20.0, -1.0, 1900), (30.0, 15.0, 2900)]
    for now, minute, rows[0] in steps:
        minutes[0] = minute
        assert task.step(now) == task.interval
    assert [share for share, _, _ in told] == [0.0, 0.0, 0.5, 0.5, 0.5]
    assert [written for _, written, _ in told] == [0, 0, 900, 1900, 2900]
    assert told[1][2] == 0.0
    assert told[-1][2] == pytest.approx(65.7)
    assert scans == [4]
