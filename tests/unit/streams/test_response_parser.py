"""Parse GetRecords responses, in place of botocore's own parser."""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders

from consumer.errors import IncompleteResponse, PositionUnknown
from consumer.records import FULL_HASH_RANGE, TRIM_HORIZON, Record, Shard
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


def stream(
    monkeypatch: pytest.MonkeyPatch, body: bytes, headers: dict[str, str] | None = None, status: int = 200
) -> KinesisStream:
    """Return a stream whose calls all get this body."""
    sent = HTTPHeaders()
    for name, value in (headers or {}).items():
        sent[name] = value
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    client = kinesis_client("stream", "us-east-1", None, 1)

    def answer(**_: object) -> AWSResponse:
        return AWSResponse("http://stream.invalid/", status, sent, _Raw(body))

    client.meta.events.register("before-send.kinesis", answer)
    return KinesisStream("stream", client)


def fetched(monkeypatch: pytest.MonkeyPatch, body: bytes) -> Any:
    """Return what the stream makes of one response of the service."""
    return stream(monkeypatch, body).fetch("iterator", 20)


def test_a_response_of_kinesis_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Data is bytes, numbers are numbers, and unknown members are ignored."""
    answer = fetched(monkeypatch, json.dumps(ANSWER).encode())
    assert answer.records == [Record(49 * 10**54, "é", 1.7e9, b"\x00\xff")]
    assert (answer.next_iterator, answer.millis_behind, answer.size) == ("next", 3, 2)


WHOLE = json.dumps(ANSWER).encode()
INCOMPLETE = {
    "nothing": b"",
    "an empty object": b"{}",
    "a message": b'{"message": "html"}',
    "a page": b"<html>",
    "half a body": WHOLE[: len(WHOLE) // 2],
    "a list": b"[]",
    "a string": b'"html"',
    "null": b"null",
    "bytes": b'"\xff',
    "no Records": b'{"NextShardIterator": "next", "MillisBehindLatest": 0}',
    "Records null": b'{"Records": null, "NextShardIterator": "next", "MillisBehindLatest": 0}',
    "Records of a wrong type": b'{"Records": "html"}',
    "a record of a wrong type": b'{"Records": ["html"]}',
    "an empty record": b'{"Records": [{}]}',
    "a record without a number": b'{"Records": [{"SequenceNumber": "", "Data": ""}]}',
    "a record without data": b'{"Records": [{"SequenceNumber": "1", "Data": null}]}',
    "data that is not base64": b'{"Records": [{"SequenceNumber": "1", "Data": "%"}]}',
    "an iterator of a wrong type": b'{"Records": [], "NextShardIterator": {"html": 1}}',
    "a distance of a wrong type": b'{"Records": [], "MillisBehindLatest": "html"}',
    "a child without a name": b'{"Records": [], "ChildShards": [{"ParentShards": []}]}',
}


@pytest.mark.parametrize("body", INCOMPLETE.values(), ids=INCOMPLETE)
def test_an_incomplete_response_is_an_error_and_is_retried(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    """The message contains nothing of the response."""
    with pytest.raises(IncompleteResponse) as caught:
        fetched(monkeypatch, body)
    assert "GetRecords: the response is" in str(caught.value)
    assert "html" not in str(caught.value)


@pytest.mark.parametrize("body", [b"{}", b'{"Shards": null}', b'{"Shards": [{}]}', b'{"Shards": "s"}', b"<html>"])
def test_an_incomplete_listing_is_not_an_empty_one(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    """A missing member says nothing about the stream."""
    with pytest.raises(IncompleteResponse):
        stream(monkeypatch, body).shards()


def test_pages_with_a_repeated_token_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same token would return the same page forever."""
    with pytest.raises(IncompleteResponse):
        stream(monkeypatch, b'{"Shards": [], "NextToken": "again"}').shards()


@pytest.mark.parametrize("body", [b"{}", b'{"ShardIterator": null}', b'{"ShardIterator": ""}', b'{"ShardIterator": 1}'])
def test_a_missing_iterator_is_an_error_and_is_retried(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    """Kinesis would reject an empty one at each read."""
    with pytest.raises(IncompleteResponse):
        stream(monkeypatch, body).open("shard", TRIM_HORIZON)


@pytest.mark.parametrize(
    ("child", "found"),
    [
        ({}, Shard("child")),
        ({"ParentShards": None, "HashKeyRange": None}, Shard("child")),
        ({"ParentShards": ["one", "other"]}, Shard("child", ("one", "other"))),
        (
            {"ParentShards": ["one"], "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": str(2**127)}},
            Shard("child", ("one",), (0, 2**127)),
        ),
    ],
)
def test_children_are_read_as_far_as_they_are_described(
    monkeypatch: pytest.MonkeyPatch, child: dict[str, Any], found: Shard
) -> None:
    """Some emulators return only their ids."""
    body = json.dumps({"Records": [], "MillisBehindLatest": 0, "ChildShards": [{"ShardId": "child", **child}]})
    assert fetched(monkeypatch, body.encode()).children == [found]
    assert found.hash_range in (FULL_HASH_RANGE, (0, 2**127))


@pytest.mark.parametrize(
    ("member", "behind"),
    [
        ("", None),
        (', "MillisBehindLatest": null', None),
        (', "MillisBehindLatest": -1', None),
        (', "MillisBehindLatest": 1e30', None),
        (', "MillisBehindLatest": "12"', 12),
        (', "MillisBehindLatest": 0', 0),
    ],
)
def test_an_invalid_lag_is_unknown(monkeypatch: pytest.MonkeyPatch, member: str, behind: int | None) -> None:
    """A missing lag differs from a lag of 0."""
    body = f'{{"Records": [], "NextShardIterator": "next"{member}}}'
    assert fetched(monkeypatch, body.encode()).millis_behind == behind


@pytest.mark.parametrize("member", ["", ', "NextShardIterator": null', ', "NextShardIterator": ""'])
def test_an_empty_next_iterator_is_none(monkeypatch: pytest.MonkeyPatch, member: str) -> None:
    """It is never sent back."""
    assert fetched(monkeypatch, f'{{"Records": []{member}}}'.encode()).next_iterator is None


def test_a_position_that_the_service_rejects_has_its_own_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some services reject the sequence number of a trimmed record."""
    made = stream(monkeypatch, b'{"__type": "InvalidArgumentException", "message": "no"}', status=400)
    with pytest.raises(PositionUnknown):
        made.open("shard", TRIM_HORIZON)


def test_the_date_header_is_read_in_any_letter_case(monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS writes Date, and proxies may write date."""
    described = {"StreamName": "stream", "StreamStatus": "ACTIVE", "StreamCreationTimestamp": 1.7e9}
    body = json.dumps({"StreamDescriptionSummary": described}).encode()
    for name in ("Date", "date"):
        made = stream(monkeypatch, body, {name: "Sun, 06 Nov 2016 08:49:37 GMT"})
        assert made.summary().server_time == datetime(2016, 11, 6, 8, 49, 37, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"Content-Encoding": "gzip"}, "a proxy compressed it (gzip), which was not asked for"),
        ({"Content-Type": "text/html; charset=utf-8"}, "the response is not JSON: a proxy's page?"),
        ({"Content-Encoding": "secret", "Content-Type": "application/x-amz-json-1.1"}, "the response is not JSON at "),
    ],
)
def test_a_body_that_is_not_json_is_described_by_its_headers(
    monkeypatch: pytest.MonkeyPatch, headers: dict[str, str], said: str
) -> None:
    """The message names the content type, not the content."""
    with pytest.raises(IncompleteResponse, match=said.replace("(", r"\(").replace(")", r"\)").replace("?", r"\?")):
        stream(monkeypatch, b"\x1f\x8b", headers).fetch("iterator", 20)
