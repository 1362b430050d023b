"""Run the `dead-letters` commands."""

import json
from collections import deque
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from consumer.adapters import connect_leases
from consumer.cli import app, redriving
from consumer.cli.redriving import PATIENCE, Patience
from consumer.decoding import event_decoder as decoder
from consumer.errors import ConfigurationError, SinkUnavailable
from consumer.leases import Lease
from consumer.records import Position
from consumer.settings import load
from consumer.telemetry import logs
from tests.events import event_ids, numbered_event
from tests.unit.clocks import FakeClock
from tests.unit.dead_letters.letters import SHARD, STREAM, letter, put, rows_of

LETTERS = [letter(1), letter(2, b'{"oops":"+15550100001', reason="not-json", message="it does not parse"), letter(3)]
SECRETS = ("+1555", "15550", "5550100")


TOLD: list[str] = []  # lines on stderr


@pytest.fixture(autouse=True)
def _told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Collect what commands say on stderr."""
    TOLD.clear()
    monkeypatch.setattr(logs, "say", lambda text, *_, **__: TOLD.append(text))


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["dead-letters", *arguments])


def lines(*arguments: str) -> list[Any]:
    """Return what a command prints with --json."""
    done = call(*arguments, "--json")
    assert done.exit_code == 0, TOLD
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(params=["jsonl", "sqlite"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Three dead letters, and a lease table whose checkpoint has passed them."""
    monkeypatch.chdir(tmp_path)
    table = connect_leases(load({"stream": STREAM}))
    table.check()
    table.create(Lease(SHARD, Position.of(100)))
    table.close()
    return put(request.param, tmp_path, LETTERS)


def test_list_shows_a_line_per_dead_letter_without_personal_data(place: str) -> None:
    """People get a table, programs get every field but partition key and data."""
    shown = call("list", "--dead-letters", place).stdout.splitlines()
    assert shown[0].split() == ["ID", "ARRIVED", "AT", "SHARD", "RECORD", "REASON", "REDRIVEN", "MESSAGE"]
    assert len(shown) == 4
    found = lines("list", "--dead-letters", place)
    assert [each["id"] for each in found] == [each.id for each in LETTERS]
    assert found[1]["reason"] == "not-json"
    assert not any(secret in f"{shown}{found}" for secret in SECRETS)


@pytest.mark.parametrize(
    ("given", "numbers"),
    [
        ([], [1, 2, 3]),
        (["--reason", "not-json"], [2]),
        (["--reason", "not-json", "--reason", "sink-rejected"], [1, 2, 3]),
        (["--shard", "shardId-1"], []),
        (["--since", "2026-11-25T10:00:02Z"], [2, 3]),
        (["--until", "2026-11-25T11:00:03+01:00"], [1, 2]),
        (["--since", "2026-11-25", "--until", "2026-11-25"], []),
        ([LETTERS[2].id[:6].upper()], [3]),
        (["--limit", "2"], [1, 2]),
    ],
)
def test_filters_narrow_every_command(place: str, given: list[str], numbers: list[int]) -> None:
    """By id, reason, shard and time of arrival."""
    found = lines("list", *given, "--dead-letters", place)
    assert [int(each["sequence_number"]) for each in found] == numbers


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--reason", "not-jsn"], "did you mean not-json?"),
        (["--since", "soon"], "--since 'soon': say"),
        (["--until", "latest"], "--until 'latest': say a time"),
    ],
)
def test_a_wrong_filter_is_one_line(place: str, given: list[str], says: str) -> None:
    """It names the flag and a correct form."""
    error = call("list", *given, "--dead-letters", place).exception
    assert isinstance(error, ConfigurationError)
    assert says in str(error)


def test_a_long_table_says_that_it_ends_early(place: str) -> None:
    """On stderr, so that a program does not take it for a dead letter."""
    done = call("list", "--limit", "2", "--dead-letters", place)
    assert "more than 2 dead letters" in TOLD[0]
    assert len(done.stdout.splitlines()) == 3


def test_show_masks_values_unless_told_to_reveal_them(place: str) -> None:
    """The shape stays visible: it is what shows why an event does not parse."""
    shown = call("show", "--dead-letters", place).stdout + json.dumps(lines("show", "--dead-letters", place))
    assert not any(secret in shown for secret in SECRETS)
    assert '{"xxxx":"+00000000000' in shown
    assert "becomes a row" in shown
    assert "is rejected again (not-json: it does not parse)" in shown
    revealed = call("show", LETTERS[1].id, "--reveal", "--dead-letters", place).stdout
    assert '{"oops":"+15550100001' in revealed
    assert "+15550199999" in revealed, "the partition key"
    assert lines("show", LETTERS[0].id, "--reveal", "--dead-letters", place)[0]["today"]["rows"][0]["to_address"]


def test_redrive_shows_its_plan_and_writes_once(place: str, tmp_path: Path) -> None:
    """A second run finds them in the ledger, and `list` shows it. What cannot be decoded stays."""
    sink = f"sqlite:{tmp_path}/rows.db"
    command = ["redrive", STREAM, "--dead-letters", place, "--sink", sink]
    planned = call(*command, "--dry-run")
    assert planned.exit_code == 0
    assert TOLD[2:] == ["2 ready", "1 rejected by today's decoder"]
    assert not (tmp_path / "rows.db").exists()
    for _ in range(2):
        assert call(*command, "--yes").exit_code == 0
        assert rows_of(sink) == event_ids([1, 3])
    states = [each["redriven"] for each in lines("list", "--dead-letters", place)]
    assert [len(state) for state in states] == [1, 0, 1]
    assert states[0][0] | {"at": ""} == {"destination": sink, "state": "written", "at": "", "message": ""}


def test_after_a_fix_redrive_brings_the_rest(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same command takes what the decoder rejected before."""
    sink = f"sqlite:{tmp_path}/rows.db"
    command = ["redrive", STREAM, "--dead-letters", place, "--sink", sink, "--yes"]
    call(*command)
    monkeypatch.setattr(decoder, "events", lambda *_: [json.loads(numbered_event(9))])
    assert call(*command).exit_code == 0
    assert rows_of(sink) == event_ids([1, 3, 9])


def test_redrive_without_a_terminal_needs_yes(place: str, tmp_path: Path) -> None:
    """Nothing is written."""
    error = call("redrive", STREAM, "--dead-letters", place, "--sink", f"sqlite:{tmp_path}/rows.db").exception
    assert isinstance(error, ConfigurationError)
    assert not (tmp_path / "rows.db").exists()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([], "name the stream"),
        ([STREAM, "--application", "other"], "no checkpoints of application 'other'"),
        ([STREAM, "--leases", "memory:"], "--without-checkpoints"),
        ([STREAM, "--leases", "sqlite:missing.db"], "there is no such file"),
    ],
)
def test_redrive_without_checkpoints_to_compare_ends(place: str, given: list[str], says: str, tmp_path: Path) -> None:
    """The dead letters could be those of a worker that writes them again. Nothing is created by a mistyped path."""
    before = sorted(tmp_path.iterdir())
    error = call("redrive", *given, "--yes", "--dead-letters", place, "--sink", "sqlite:rows.db").exception
    assert isinstance(error, ConfigurationError)
    assert says in str(error)
    assert sorted(tmp_path.iterdir()) == before


def test_redrive_can_do_without_checkpoints(place: str) -> None:
    """Lambda has no lease table."""
    flags = ["--without-checkpoints", "--leases", "memory:", "--sink", "jsonl:rows", "--yes"]
    assert call("redrive", STREAM, "--dead-letters", place, *flags).exit_code == 0
    assert rows_of("jsonl:rows") == event_ids([1, 3])


def test_rows_on_standard_output_stand_alone(place: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Plan and summary are on stderr. The plan says that this sink keeps duplicates."""
    call("redrive", STREAM, "--dead-letters", place, "--yes")
    assert "keeps duplicates" in TOLD[1]
    rows = capfd.readouterr().out
    assert [json.loads(line)["event_id"] for line in rows.splitlines()] == event_ids([1, 3])


def test_purge_says_what_would_be_lost_and_deletes_it(place: str) -> None:
    """Those that were redriven can be deleted alone."""
    call("redrive", STREAM, LETTERS[0].id, "--dead-letters", place, "--sink", "sqlite:rows.db", "--yes")
    call("purge", "--dry-run", "--dead-letters", place)
    assert "delete 3 dead letters, 2 of which were not redriven" in TOLD[-1]
    assert call("purge", "--redriven", "--yes", "--dead-letters", place).exit_code == 0
    assert [each["id"] for each in lines("list", "--dead-letters", place)] == [each.id for each in LETTERS[1:]]
    call("purge", "--yes", "--reason", "not-json", "--dead-letters", place)
    assert [each["id"] for each in lines("list", "--dead-letters", place)] == [LETTERS[2].id]


def test_an_export_is_private_and_can_be_read_everywhere(place: str, tmp_path: Path) -> None:
    """`decode` takes it as it is; the other commands as `jsonl:FILE`. An existing file is not overwritten."""
    file = tmp_path / "exported"
    assert call("export", str(file), "--dead-letters", place).exit_code == 0
    assert file.stat().st_mode & 0o777 == 0o600
    assert [each["id"] for each in lines("list", "--dead-letters", f"jsonl:{file}")] == [each.id for each in LETTERS]
    decoded = CliRunner().invoke(app, ["decode", str(file)])
    assert decoded.exit_code == 1
    found = [json.loads(line) for line in decoded.stdout.splitlines()]
    assert [each.get("event_id") for each in found] == [*event_ids([1]), None, *event_ids([3])]
    assert found[1] == {"refused": "not-json", "message": "it does not parse", "record": 2, "event_index": 0}
    assert isinstance(call("export", str(file), "--dead-letters", place).exception, ConfigurationError)
    assert call("export", "-", LETTERS[0].id, "--dead-letters", place).stdout == file.read_text().splitlines()[0] + "\n"


def test_a_sink_that_fails_is_tried_for_a_minute() -> None:
    """A success in between starts the minute again."""
    clock = FakeClock()
    patience = Patience(clock, clock.advance)
    for _ in range(2):
        begun = clock.now
        with pytest.raises(SinkUnavailable):
            deque(map(patience, repeat(SinkUnavailable())), maxlen=0)
        assert PATIENCE <= clock.now - begun < PATIENCE + 10
        clock.advance(60)


def test_a_sink_that_fails_for_too_long_ends_the_run(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With exit code 3, as a worker that could not deliver."""
    monkeypatch.setattr(redriving, "PATIENCE", 0.0)
    monkeypatch.setattr("consumer.sinks.jsonl.JsonlSink.write", fail)
    done = call("redrive", STREAM, "--dead-letters", place, "--sink", "jsonl:rows", "--yes")
    assert done.exit_code == 3


def fail(*_: object) -> int:
    raise SinkUnavailable
