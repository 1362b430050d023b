"""GetRecords answers through botocore, read by the typed decoder."""

import base64
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import HTTPClientError

from consumer.errors import StreamUnavailable
from consumer.records import Record
from consumer.streams.kinesis import KinesisStream, kinesis_client

RECORD = {
    "SequenceNumber": "49" + "0" * 54,
    "ApproximateArrivalTimestamp": 1.7e9,
    "Data": base64.b64encode(b"\x00\xff").decode(),
    "PartitionKey": "é",
    "EncryptionType": "NONE",
}
ANSWER = {
    "Records": [RECORD],
    "NextShardIterator": "next",
    "MillisBehindLatest": 3,
    "ChildShards": [],
}


class _Raw:
    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, **_: object) -> Iterator[bytes]:
        yield self._body


def stream(monkeypatch: pytest.MonkeyPatch, bodies: Sequence[bytes], asked: list[int] | None = None) -> KinesisStream:
    """A stream whose reads are answered with these, one after the other; `asked` gets for how many records each was."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    client = kinesis_client("stream", "us-east-1", None, 1)
    rest = iter(bodies)

    def answer(request: Any, **_: object) -> AWSResponse:
        if asked is not None:
            asked.append(json.loads(request.body)["Limit"])
        return AWSResponse("http://stream.invalid/", 200, HTTPHeaders(), _Raw(next(rest)))

    client.meta.events.register("before-send.kinesis.GetRecords", answer)
    return KinesisStream("stream", client)


def fetched(monkeypatch: pytest.MonkeyPatch, body: bytes) -> Any:
    """What the stream makes of one answer of the service."""
    return stream(monkeypatch, [body]).fetch("iterator")


def test_an_answer_is_read_as_kinesis_writes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Data as bytes, numbers as numbers; members that nobody reads are ignored."""
    answer = fetched(monkeypatch, json.dumps(ANSWER).encode())
    assert answer.records == [Record(49 * 10**54, "é", 1.7e9, b"\x00\xff")]
    assert (answer.next_iterator, answer.millis_behind, answer.size) == ("next", 3, 2)


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"Records": [{}]}', b'{"Records": [{"Data": "%"}]}', b'"\xff'])
def test_what_is_no_answer_is_asked_for_again(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    """Such as a proxy's page; nothing of it is in the message."""
    with pytest.raises(StreamUnavailable) as caught:
        fetched(monkeypatch, body)
    assert HTTPClientError.__name__ in str(caught.value)
    assert "html" not in str(caught.value)


def test_asks_for_as_many_records_as_come_to_2_mib(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few while nothing is known of their size; an answer without any says nothing new."""
    sizes = [[], [1024], [2048, 0], [], [4 * 1024 * 1024], [0], [1]]
    asked: list[int] = []
    source = stream(monkeypatch, [answer(each) for each in sizes], asked)
    for _ in sizes:
        source.fetch("iterator")
    assert asked == [20, 20, 2048, 2048, 2048, 1, 1]


def answer(sizes: Sequence[int]) -> bytes:
    """An answer of records of these sizes."""
    return json.dumps(
        {"Records": [{**RECORD, "Data": base64.b64encode(bytes(size)).decode()} for size in sizes]}
    ).encode()
