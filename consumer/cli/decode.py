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

from consumer.errors import ConfigurationError
from consumer.pipeline.decoding import Decoder
from consumer.records import TRIM_HORIZON, DeadLetter, Record, Row, Shard

File = Annotated[Path, typer.Argument(help="A file, or - for standard input.", allow_dash=True)]
Raw = Annotated[bool, typer.Option("--raw", help="Add the event as it came, as `event`.")]


def command(file: File = Path("-"), raw: Raw = False) -> None:
    """Decode events: a JSON object or array, JSON lines, or base64 of either. Ends with 1 if any is refused."""
    try:
        data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}") from None
    decoder = Decoder("decode", Shard("none"), raw)
    refused = False
    for number, item in enumerate(_events(data), 1):
        for outcome in decoder(Record(number, "", time.time(), item), TRIM_HORIZON).outcomes:
            refused = refused or isinstance(outcome, DeadLetter)
            typer.echo(_shown(outcome))
    if refused:
        raise typer.Exit(1)


def _shown(outcome: object) -> str:
    if isinstance(outcome, Row):
        return outcome.line.decode()
    if isinstance(outcome, DeadLetter):
        place = {"record": outcome.place.sequence, "event_index": outcome.place.event_index}
        return json.dumps({"refused": outcome.reason.value, "message": outcome.message, **place})
    return json.dumps({"skipped": getattr(outcome, "event_type", None)})


def _events(data: bytes) -> Iterator[bytes]:
    """The documents in a file: the whole of it, or its lines."""
    if _is_json(data):
        yield data
        return
    for line in data.splitlines() or [data]:
        if line.strip():
            yield _plain(line.strip())


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


def _plain(line: bytes) -> bytes:
    """The line, or what it is base64 of."""
    if line[:1] in b"{[":
        return line
    try:
        return base64.b64decode(line, validate=True)
    except binascii.Error:
        return line
