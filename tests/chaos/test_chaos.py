"""Run a minute of chaos with real processes; `make soak` runs longer."""

import os
import random
from pathlib import Path

import pytest

from tests.chaos.fleet import Services
from tests.chaos.sinks import Seen
from tests.chaos.storm import Storm
from tests.chaos.witness import check_rows


@pytest.mark.parametrize(
    ("sink", "seconds"),
    [
        pytest.param("sqlite", 25.0, marks=pytest.mark.xdist_group("storm over SQLite")),
        pytest.param("jsonl", 18.0, marks=pytest.mark.xdist_group("storm over files")),
    ],
)
def test_a_fleet_in_a_storm_delivers_every_event_once_and_in_order(
    services: Services, tmp_path: Path, sink: str, seconds: float
) -> None:
    """The storm has kills, freezes, joins, splits, merges and outages of table and stream."""
    seed = int(os.environ.get("CHAOS_SEED") or random.randrange(1_000_000))
    print(f"CHAOS_SEED={seed}")
    report = Storm(seed, seconds, tmp_path, services, sink, print).run()
    assert not report.broken, str(report)
    assert report.published == report.rows > 0
    assert report.samples > 10


def seen(number: int, shard: str, sequence: int) -> Seen:
    return Seen(number, shard, sequence, 0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([seen(0, "a", 1), seen(1, "a", 2)], None),
        ([seen(0, "a", 1)], "1 events are lost"),
        ([seen(0, "a", 1), seen(1, "a", 2), seen(1, "a", 2)], "1 events are there twice"),
        ([seen(1, "a", 2), seen(0, "a", 1)], "the order is not the stream's"),
        ([seen(0, "b", 1), seen(1, "a", 2)], "read before its parent a was finished"),
    ],
)
def test_the_checks_find_each_kind_of_failure(rows: list[Seen], says: str | None) -> None:
    """Kinds are lost, duplicate, out of order, and a child before its parent. Correct rows pass."""
    found = list(check_rows(rows, 2, {"b": ["a"]}))
    assert len(found) == (0 if says is None else 1)
    if says is not None:
        assert says in found[0]
