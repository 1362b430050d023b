"""GetRecords answers through botocore, read by the typed decoder."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import HTTPClientError

from consumer.errors import StreamUnavailable
from consumer.records import Record
from consumer.streams.kinesis import KinesisStream, kinesis_client

ANSWER = {
    "Records": [
        {
            "SequenceNumber": "49" + "0" * 54,
            "ApproximateArrivalTimestamp": 1.7e9,
            "Data": base64.b64encode(b"\x00\xff").decode(),
            "PartitionKey": "é",
            "EncryptionType": "NONE",
        }
    ],
    "NextShardIterator": "next",
    "MillisBehindLatest": 3,
    "ChildShards": [],
}


class _Raw:
    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, **_: object) -> Iterator[bytes]:
        yield self._body


def fetched(monkeypatch: pytest.MonkeyPatch, body: bytes) -> Any:
    """What the stream makes of one answer of the service."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    client = kinesis_client("stream", "us-east-1", None, 1)
    answer = AWSResponse("http://stream.invalid/", 200, HTTPHeaders(), _Raw(body))
    client.meta.events.register("before-send.kinesis.GetRecords", lambda **_: answer)
    return KinesisStream("stream", client).fetch("iterator")


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
