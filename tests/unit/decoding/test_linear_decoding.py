"""Check that decoding work is linear in the length of a record, by counting calls and bytes."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest

from benchmarks.shapes import SMALLEST
from consumer.decoding import aggregates, arrays, json_document
from consumer.decoding.deaggregation import aggregate
from tests.unit.decoding.outcomes import pieces
from tests.unit.decoding.test_large_records import small

PIECE = 500
LENGTH = 400  # user records, or elements
DEEP = b"[" * 30 + b"]" * 30
AGGREGATES: dict[str, Callable[[int], bytes]] = {
    "one key": lambda length: aggregate([("k" * 200, SMALLEST)] * length),
    "a key each": lambda length: aggregate([(f"key-{number:06d}", SMALLEST) for number in range(length)]),
    "garbage": lambda length: aggregate([("k", b"x")] * length),
    "one long user record": lambda length: aggregate([("k", b"[%b0]" % (b"{}," * length))]),
}
ARRAYS: dict[str, Callable[[int], bytes]] = {
    "zeros": lambda length: b"[%b0]" % (b"0," * length),
    "events": lambda length: b"[%b0]" % ((SMALLEST + b",") * length),
    "deep elements": lambda length: b"[%b0]" % ((DEEP + b",") * length),
    "one long element": lambda length: b"[[%b0]]" % (b"{}," * length),
    "torn": lambda length: b"[" + b"{}," * length,
}
SHAPES = AGGREGATES | ARRAYS


class Work:
    """Count calls of Python and C functions, and the bytes that are copied, parsed or made."""

    def __init__(self) -> None:
        self.calls = self.bytes = 0

    def profile(self, _frame: object, event: str, _argument: object) -> None:
        """Count a call."""
        self.calls += event in ("call", "c_call")

    def of(self, function: Callable[..., Any], measured: Callable[..., int]) -> Callable[..., Any]:
        """Return the function with its bytes counted."""

        def counting(*arguments: Any) -> Any:
            self.bytes += measured(*arguments)
            return function(*arguments)

        return counting


@contextmanager
def counted() -> Iterator[Work]:
    """Count all work inside the block."""
    work, strings = Work(), aggregates._Strings.__getitem__
    with (
        small(PIECE),
        patch.object(arrays, "parse", work.of(json_document.parse, lambda data, _: len(data))),
        patch.object(aggregates, "_parsed", work.of(aggregates._parsed, lambda _, data: len(data))),
        patch.object(
            aggregates._Strings, "__getitem__", work.of(strings, lambda table, index: len(strings(table, index)))
        ),
    ):
        sys.setprofile(work.profile)
        try:
            yield work
        finally:
            sys.setprofile(None)


def work_of(data: bytes) -> Work:
    """Return the work of decoding a record."""
    with counted() as work:
        pieces(data)
    return work


@pytest.mark.parametrize("name", SHAPES)
def test_a_record_four_times_as_long_takes_about_four_times_the_work(name: str) -> None:
    """Quadratic work would take sixteen times."""
    made = SHAPES[name]
    once, again = work_of(made(LENGTH)), work_of(made(4 * LENGTH))
    assert again.calls < 6 * once.calls
    assert again.bytes <= 6 * once.bytes


def test_a_key_that_all_user_records_share_is_decoded_a_few_times() -> None:
    """Not for each of them: that was 100 s for a key of 5 MiB."""
    data = aggregate([("k" * 200, b"x")] * LENGTH)
    with small(PIECE), patch.object(aggregates._Strings, "__getitem__", autospec=True, return_value="k") as decoded:
        pieces(data)
    assert 0 < decoded.call_count <= 2
