"""Decode and encode lines of stored dead letters."""

from collections.abc import Mapping

import msgspec

from consumer.dead_letters import StoredDeadLetter

_decode = msgspec.json.Decoder(StoredDeadLetter).decode
_encode = msgspec.json.Encoder().encode


class NotADeadLetter(ValueError):
    """The line or the row is no dead letter. The text carries no value of it."""


def from_line(line: bytes) -> StoredDeadLetter:
    """Return the dead letter in a line of JSON.

    Raises:
        NotADeadLetter: the line is not JSON, lacks a field, or has one of another type.
    """
    try:
        return _checked(_decode(line))
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise NotADeadLetter("not a dead letter") from None


def from_values(values: Mapping[str, object]) -> StoredDeadLetter:
    """Return the dead letter in a row of a table. Its `data` is base64.

    Raises:
        NotADeadLetter: a field is missing or has another type.
    """
    try:
        return _checked(msgspec.convert(values, StoredDeadLetter))
    except msgspec.ValidationError:
        raise NotADeadLetter("not a dead letter") from None


def to_line(letter: StoredDeadLetter) -> bytes:
    """Return the dead letter as a line of JSON without a newline, as the worker writes it."""
    return _encode(letter)


def _checked(letter: StoredDeadLetter) -> StoredDeadLetter:
    if not (letter.sequence_number.isascii() and letter.sequence_number.isdecimal()):
        raise NotADeadLetter("not a dead letter")
    return letter
