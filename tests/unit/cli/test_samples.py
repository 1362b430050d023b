"""Make sample events and put them on a stream."""

from typing import Any

import pytest

from consumer.cli import samples
from consumer.cli.event_files import split
from consumer.cli.publish import _first_number
from consumer.errors import ConfigurationError
from consumer.runtime.backoff import RetryPolicy


class Stream:
    """A stream that rejects one record always, and every other one the first time."""

    def __init__(self, never: bytes) -> None:
        self.never, self.seen, self.taken = never, set[bytes](), list[bytes]()

    def put_records(self, Records: list[Any], StreamName: str) -> Any:  # noqa: N803 - boto3's names
        return {"Records": [self._answer(entry["Data"]) for entry in Records]}

    def _answer(self, data: bytes) -> dict[str, str]:
        if data == self.never or data not in self.seen:
            self.seen.add(data)
            return {"ErrorCode": "InternalFailure"}
        self.taken.append(data)
        return {}


def test_a_rejected_record_is_retried_a_limited_number_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are put, and one line names the error."""
    monkeypatch.setattr(samples, "RETRIES", RetryPolicy(0.0, 0.0))
    stream = Stream(never=b"too large")
    with pytest.raises(ConfigurationError, match="rejects 1 records: InternalFailure"):
        list(samples.put(stream, "s", [b"a", b"too large", b"b"]))
    assert stream.taken == [b"a", b"b"]


def test_a_response_without_records_is_one_line() -> None:
    """botocore takes half a response for an empty one."""

    class Half:
        def put_records(self, Records: list[Any], StreamName: str) -> Any:  # noqa: N803 - boto3's names
            return {"message": "{"}

    with pytest.raises(ConfigurationError, match="stream s: PutRecords: the response is incomplete"):
        list(samples.put(Half(), "s", [b"a"]))


def test_samples_have_new_ids_each_time_unless_a_seed_is_given() -> None:
    """A sink would take the same ids for repeats."""
    new, again = ([*samples.numbered(3, _first_number(None))] for _ in range(2))
    assert not set(new) & set(again)
    assert len(set(new)) == 3
    assert [*samples.numbered(3, _first_number(7))] == [*samples.numbered(3, _first_number(7))]


@pytest.mark.parametrize(
    ("data", "events"),
    [
        (b'{"a": 1}\n\n{"a": 2}\n', [b'{"a": 1}', b'{"a": 2}']),
        (b'{\n"a": 1\n}\n', [b'{\n"a": 1\n}\n']),
        (b'{"a": 1}\ntorn', [b'{"a": 1}', b"torn"]),
        (b"no json", [b"no json"]),
    ],
)
def test_a_file_is_one_event_or_json_lines(data: bytes, events: list[bytes]) -> None:
    """A broken line is published too, because that is what a test of dead letters needs."""
    assert split(data) == events
