"""`call-consumer decode`: decode events without a stream."""

import base64
import binascii
import json
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from consumer.cli.event_files import split
from consumer.decoding.decoder import Decoder
from consumer.errors import ConfigurationError
from consumer.records import TRIM_HORIZON, DeadLetter, Record, Row, Shard

File = Annotated[Path, typer.Argument(help="File to read, or - for standard input.", allow_dash=True, metavar="FILE")]
Raw = Annotated[bool, typer.Option("--raw", help="Add the original event to each row, as `event`.")]


def command(file: File = Path("-"), raw: Raw = False) -> None:
    """Decode events from a file or standard input.

    Read a JSON object or array, JSON lines, or base64 of either. Print a row per event, or the reason why there is
    none. Exit with code 1 if any event is rejected.
    """
    try:
        data = _standard_input() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}") from None
    decoder = Decoder("decode", Shard("none"), raw)
    rejected = False
    for number, item in enumerate(split(data, _unwrapped), 1):
        for outcome in decoder(Record(number, "", time.time(), item), TRIM_HORIZON).outcomes:
            rejected = rejected or isinstance(outcome, DeadLetter)
            _print(_shown(outcome))
    if rejected:
        raise typer.Exit(1)


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


def _shown(outcome: object) -> str:
    if isinstance(outcome, Row):
        return outcome.line.decode()
    if isinstance(outcome, DeadLetter):
        location = {"record": outcome.location.sequence, "event_index": outcome.location.event_index}
        return json.dumps({"refused": outcome.reason.value, "message": outcome.message, **location})
    return json.dumps({"skipped": getattr(outcome, "event_type", None)})


def _unwrapped(text: bytes) -> bytes:
    """Return what the text encodes if it is base64, on one line or several; else the text."""
    try:
        return base64.b64decode(b"".join(text.split()), validate=True) or text
    except binascii.Error:
        return text
