"""Run `call-consumer decode` on different inputs."""

import base64
import json
import sys
from io import BytesIO, TextIOWrapper
from typing import Any

import pytest
from typer.testing import CliRunner

from consumer.cli import app, decode
from consumer.decoding.deaggregation import aggregate
from consumer.errors import ConfigurationError
from tests.events import event

EVENT = json.dumps(event()).encode()
PRETTY = json.dumps(event(), indent=2).encode()


def call(given: bytes, *options: str) -> tuple[int, list[Any]]:
    done = CliRunner().invoke(app, ["decode", *options], input=given)
    return done.exit_code, [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("given", "ids"),
    [
        (EVENT, 1),
        (PRETTY, 1),
        (b"\xef\xbb\xbf" + PRETTY, 1),
        (b"[" + EVENT + b"," + PRETTY + b"]", 2),
        (EVENT + b"\n\n" + EVENT + b"\r\n", 2),
        (base64.b64encode(EVENT), 1),
        (base64.encodebytes(PRETTY), 1),
        (base64.b64encode(EVENT) + b"\n" + base64.b64encode(PRETTY) + b"\n" + EVENT, 3),
        (aggregate([("k", EVENT), ("k", PRETTY)]), 2),
        (base64.b64encode(aggregate([("k", EVENT), ("k", PRETTY)])), 2),
    ],
)
def test_events_are_read_as_json_or_base64_alone_or_by_line(given: bytes, ids: int) -> None:
    """Pretty-printed, wrapped and aggregated events work too."""
    code, lines = call(given)
    assert (code, [line["event_id"] for line in lines]) == (0, [event()["id"]] * ids)


@pytest.mark.parametrize(
    ("given", "refused"),
    [
        (b"", ["not-json"]),
        (PRETTY[:-9], ["not-json"]),
        (b"one\ntwo\n", ["not-json"]),
        (b"one\n" + EVENT, ["not-json", None]),
        (b"{}", ["not-cloudevent"]),
        (b'[{}, {"type": "a.b"}]', ["not-cloudevent", None]),
        (aggregate([("k", EVENT)])[:-1], ["corrupt-aggregate"]),
    ],
)
def test_a_rejected_event_ends_the_command_with_1(given: bytes, refused: list[str | None]) -> None:
    """The other events are shown."""
    code, lines = call(given)
    assert (code, [line.get("refused") for line in lines]) == (1, refused)


def test_raw_shows_the_event_and_a_skipped_event_shows_its_type() -> None:
    """The worker does the same."""
    assert call(EVENT, "--raw")[1][0]["event"] == event()
    assert call(b'{"type": "a.b"}') == (0, [{"skipped": "a.b"}])


@pytest.mark.parametrize(("name", "says"), [("stdin", "input is closed"), ("echo", "No space left")])
def test_missing_input_or_output_is_a_configuration_error(
    name: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no traceback."""

    def full(_: str) -> None:
        raise OSError(28, "No space left on device")

    stream = TextIOWrapper(BytesIO(EVENT))
    monkeypatch.setattr(sys, "stdin", None if name == "stdin" else stream)
    monkeypatch.setattr(decode.typer, "echo", full)  # type: ignore[attr-defined]
    with pytest.raises(ConfigurationError, match=says):
        decode.command()
