"""`call-consumer decode`: events in, rows or reasons out - without a stream."""

import base64
import binascii
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from consumer.decoding.deaggregation import is_aggregate
from consumer.decoding.decoder import Decoder
from consumer.decoding.json_document import parse
from consumer.decoding.rejection import RecordRejected
from consumer.decoding.warnings import Warnings
from consumer.errors import ConfigurationError
from consumer.records import TRIM_HORIZON, DeadLetter, Record, Row, Shard

File = Annotated[Path, typer.Argument(help="A file, or - for standard input.", allow_dash=True)]
Raw = Annotated[bool, typer.Option("--raw", help="Add the event as it came, as `event`.")]


def command(file: File = Path("-"), raw: Raw = False) -> None:
    """Decode events: a JSON object or array, JSON lines, or base64 of either. Ends with 1 if any is refused."""
    try:
        data = _standard_input() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}") from None
    decoder = Decoder("decode", Shard("none"), raw)
    refused = False
    for number, item in enumerate(_events(data), 1):
        for outcome in decoder(Record(number, "", time.time(), item), TRIM_HORIZON).outcomes:
            refused = refused or isinstance(outcome, DeadLetter)
            _print(_shown(outcome))
    if refused:
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
        location = {"record": outcome.place.sequence, "event_index": outcome.place.event_index}
        return json.dumps({"refused": outcome.reason.value, "message": outcome.message, **location})
    return json.dumps({"skipped": getattr(outcome, "event_type", None)})


def _events(data: bytes) -> Iterator[bytes]:
    """The records in a file: the whole of it, or its lines if any of them is an event by itself."""
    lines = [_plain(line) for line in data.splitlines() if line.strip()]
    if _is_record(data) or not any(map(_is_record, lines)):
        yield data if _is_record(data) else _plain(data)
    else:
        yield from lines


def _is_record(data: bytes) -> bool:
    if is_aggregate(data):
        return True
    try:
        return isinstance(parse(data, Warnings()), dict | list)
    except RecordRejected:
        return False


def _plain(text: bytes) -> bytes:
    """What the text is base64 of, wrapped or not, or else the text."""
    try:
        return base64.b64decode(b"".join(text.split()), validate=True) or text
    except binascii.Error:
        return text
