"""Test how the bounds of a replay are given, and what they name."""

import re
from collections import deque
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from consumer.decoding.decoder import Decoder
from consumer.errors import ConfigurationError
from consumer.pipeline.intake import fill
from consumer.records import Record, Shard
from consumer.replay.bounds import Bounds, bounds_of
from consumer.replay.replay import Replay
from consumer.settings import Settings
from tests.events import numbered_event
from tests.unit.drivers import ListSink, pipeline_to

START, END = datetime(2026, 11, 20, 10, tzinfo=UTC), datetime(2026, 11, 20, 12, tzinfo=UTC)


def test_without_an_end_it_ends_now() -> None:
    """In whole seconds, so that the same bounds are easily named again."""
    bounds = bounds_of("2h", None, [], [])
    assert isinstance(bounds.start, datetime)
    assert bounds.end - bounds.start <= timedelta(hours=2, seconds=1)
    assert bounds.end.microsecond == bounds.start.microsecond == 0


def test_the_flags_for_a_continuation_name_the_same_checkpoints() -> None:
    """Also if the first run was given an age."""
    first = bounds_of("2h", None, ["shardId-1"], ["sid=CA*"])
    flags = first.arguments.split()
    assert flags[::2] == ["--from", "--to"]
    assert bounds_of(flags[1], flags[3], ["shardId-1"], ["sid=CA*"]) == first
    whole = bounds_of("trim-horizon", "2026-11-20T12:00:00.5+01:00", [], [])
    assert whole.arguments == "--from trim-horizon --to 2026-11-20T11:00:00.500000Z"
    assert whole.suffix == "replay-trim-horizon-20261120T110000.500000Z"


@pytest.mark.parametrize(
    ("first", "last", "says"),
    [
        (None, None, "--from: say where to begin"),
        ("latest", None, "--from latest: a replay has nothing to read there"),
        ("soon", None, "--from 'soon': say trim-horizon"),
        ("2h", "3h", "is not after --from"),
        ("2h", "trim-horizon", "--to trim-horizon: say a time"),
        ("2h", "2999-01-01", "in the future"),
    ],
)
def test_wrong_bounds_are_refused_in_one_line(first: str | None, last: str | None, says: str) -> None:
    """It names the flag."""
    with pytest.raises(ConfigurationError, match=re.escape(says)):
        bounds_of(first, last, [], [])


def test_different_bounds_have_different_names() -> None:
    """Otherwise one replay would continue with the checkpoints of another."""
    bounds = [
        Bounds(START, END),
        Bounds("trim-horizon", END),
        Bounds(START, END, ("a",)),
        Bounds(START, END, ("a", "b")),
        Bounds(START, END, (), ("a",)),
        Bounds(START, END + timedelta(milliseconds=1)),
    ]
    names = [each.suffix for each in bounds]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+", name) for name in names)
    assert Bounds(START, END, ("b", "a")).suffix == Bounds(START, END, ("a", "b")).suffix


def test_a_name_contains_no_address() -> None:
    """Lease tables and logs show it."""
    assert "1555" not in Bounds(START, END, (), ("address=+15551234567",)).suffix


@pytest.mark.parametrize(
    ("leases", "expected"),
    [
        ("sqlite:leases.db", "sqlite:leases.db"),
        ("memory:", "memory:"),
        ("dynamodb:", "dynamodb:"),
        ("dynamodb:TABLE?region=eu-west-1", "dynamodb:TABLE.SUFFIX?region=eu-west-1"),
    ],
)
def test_the_worker_of_a_replay_uses_no_checkpoints_of_another(leases: str, expected: str) -> None:
    """A named table of DynamoDB holds one application. The environment may set an address that a worker listens on."""
    replay = Replay(Bounds(START, END), 0.5)
    given = Settings(stream="calls", application="prod", leases=leases, http=":8080", from_="latest")
    settings = replay.settings(given, keep_http=False)
    assert settings.name == "prod.replay-20261120T100000Z-20261120T120000Z"
    assert settings.leases == expected.replace("SUFFIX", replay.bounds.suffix)
    assert settings.from_ == START
    assert settings.until_caught_up
    assert not settings.http
    assert replay.settings(given, keep_http=True).http == ":8080"


def test_its_batches_have_names_that_no_worker_uses() -> None:
    """A sink would take a batch with the same records for written, although a filter or a newer decoder made it."""
    sink = ListSink()
    workers = pipeline_to(sink)
    replays = replace(workers, label=Replay(Bounds(START, END), 0.5).label)
    names = []
    for pipeline in (workers, replays):
        buffer = pipeline.buffer("shardId-000000000001")
        fill(buffer, Decoder("calls", Shard("shard")), deque([Record(7, "key", 0.0, numbered_event(1))]), 0.0)
        names.append(buffer.batch().name)
    assert names[0] == "dt=1970-01-01/hour=00/shardId-000000000001-7-7"
    assert re.fullmatch(r"dt=1970-01-01/hour=00/shardId-000000000001\.replay-[0-9a-f]{6}-7-7", names[1])
