"""`call-consumer decode`: decode events without a stream."""

import base64
import binascii
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from consumer.cli.event_files import split
from consumer.dead_letters import StoredDeadLetter
from consumer.dead_letters.attempt import Result, attempt
from consumer.dead_letters.stored import NotADeadLetter, from_line
from consumer.decoding.decoder import Decoder
from consumer.decoding.locations import EncodedRow
from consumer.errors import ConfigurationError
from consumer.records import DeadLetter, Record, Shard, Skipped

File = Annotated[Path, typer.Argument(help="File to read, or - for standard input.", allow_dash=True, metavar="FILE")]
Raw = Annotated[bool, typer.Option("--raw", help="Add the original event to each row, as `event`.")]


def command(file: File = Path("-"), raw: Raw = False) -> None:
    """Decode events from a file or standard input.

    Read a JSON object or array, JSON lines, base64 of either, or a file of dead letters. Print a row per event, or the
    reason why there is none. Exit with code 1 if any event is rejected.
    """
    try:
        data = _standard_input() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}") from None
    rejected = False
    for number, item in enumerate(split(data, _unwrapped), 1):
        for line, failed in _decoded(number, item, raw):
            rejected = rejected or failed
            _print(line)
    if rejected:
        raise typer.Exit(1)


def _decoded(number: int, item: bytes, raw: bool) -> Iterator[tuple[str, bool]]:
    """Yield a line per event of a record or of a dead letter, and whether the event is rejected."""
    try:
        letter = from_line(item)
    except NotADeadLetter:
        decoder = Decoder("decode", Shard("none"), raw)
        for outcome in decoder.outcomes(Record(number, "", time.time(), item)):
            yield _shown(outcome), isinstance(outcome, DeadLetter)
    else:
        yield from _decoded_again(number, letter, raw)


def _decoded_again(number: int, letter: StoredDeadLetter, raw: bool) -> Iterator[tuple[str, bool]]:
    found = attempt(letter, raw)
    yield from ((_text(row), False) for row in found.rows)
    if found.result is Result.SKIPPED:
        yield json.dumps({"skipped": None}), False
    elif not found.rows:
        reason, message = found.reason or letter.reason, found.message or found.result.value
        yield _refused(reason, message, number, letter.event_index), True


def _standard_input() -> bytes:
    if sys.stdin is None:
        raise ConfigurationError("standard input is closed; name a file")
    return sys.stdin.buffer.read()


def _print(line: str) -> None:
    try:
        typer.echo(line)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ConfigurationError(f"standard output: {error.strerror}") from None


def _shown(outcome: EncodedRow | DeadLetter | Skipped) -> str:
    if isinstance(outcome, EncodedRow):
        return _text(outcome)
    if isinstance(outcome, DeadLetter):
        location = outcome.location
        return _refused(outcome.reason.value, outcome.message, location.sequence, location.event_index)
    return json.dumps({"skipped": outcome.event_type})


def _text(row: EncodedRow) -> str:
    return row.line.decode().rstrip("\n")


def _refused(reason: str, message: str, record: int, event_index: int) -> str:
    return json.dumps({"refused": reason, "message": message, "record": record, "event_index": event_index})


def _unwrapped(text: bytes) -> bytes:
    """Return what the text encodes if it is base64, on one line or several; else the text."""
    try:
        return base64.b64decode(b"".join(text.split()), validate=True) or text
    except binascii.Error:
        return text
