"""Split a file into events."""

from collections.abc import Callable

from consumer.decoding.deaggregation import is_aggregate
from consumer.decoding.json_document import parse
from consumer.decoding.rejection import RecordRejected
from consumer.decoding.warnings import Warnings


def split(data: bytes, unwrap: Callable[[bytes], bytes] = bytes) -> list[bytes]:
    """Return the records in a file: the whole file, or its lines if any line is an event. `unwrap` decodes each."""
    if _is_record(data):
        return [data]
    lines = [unwrap(line) for line in data.splitlines() if line.strip()]
    return lines if any(map(_is_record, lines)) else [unwrap(data)]


def _is_record(data: bytes) -> bool:
    if is_aggregate(data):
        return True
    try:
        return isinstance(parse(data, Warnings()), dict | list)
    except RecordRejected:
        return False
