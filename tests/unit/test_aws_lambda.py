"""Deliver the events of a Lambda event source mapping."""

import base64
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.validate import validate_parameters

from consumer import aws_lambda
from consumer.decoding.deaggregation import aggregate
from consumer.errors import SinkUnavailable
from consumer.records import BatchLimits
from consumer.rejection_policy import policies_of
from consumer.settings import load
from consumer.sinks import Rows
from tests.events import event_id, event_ids, numbered_event
from tests.unit.drivers import ListSink, pipeline_to

ARN = "arn:aws:kinesis:us-east-1:123456789012:stream/twilio-events"
SEQUENCE = 49590338271490256608559692538361571095921575989136588898
DEPLOY = Path(__file__).parents[2] / "deploy" / "lambda"


class Context:
    """The context of an invocation with time left."""

    def __init__(self, *left: int) -> None:
        self._left = list(left)

    def get_remaining_time_in_millis(self) -> int:
        return self._left.pop(0) if self._left else 60_000


def lambda_event(*data: bytes) -> dict[str, Any]:
    """Return an event with these records and increasing sequence numbers."""
    return {
        "Records": [
            {
                "kinesis": {
                    "kinesisSchemaVersion": "1.0",
                    "partitionKey": "1",
                    "sequenceNumber": str(SEQUENCE + index),
                    "data": base64.b64encode(item).decode(),
                    "approximateArrivalTimestamp": 1545084650.987,
                },
                "eventSource": "aws:kinesis",
                "eventVersion": "1.0",
                "eventID": f"shardId-000000000006:{SEQUENCE + index}",
                "eventName": "aws:kinesis:record",
                "invokeIdentityArn": "arn:aws:iam::123456789012:role/lambda-role",
                "awsRegion": "us-east-1",
                "eventSourceARN": ARN,
            }
            for index, item in enumerate(data)
        ]
    }


def failed(index: int) -> dict[str, Any]:
    """Return the response that names the record with this index as the first failed one."""
    return {"batchItemFailures": [{"itemIdentifier": str(SEQUENCE + index)}]}


DELIVERED: dict[str, Any] = {"batchItemFailures": []}


@pytest.fixture(autouse=True)
def fresh_process() -> Iterator[None]:
    made = aws_lambda._process
    made.cache_clear()
    yield
    made.cache_clear()


def into(monkeypatch: pytest.MonkeyPatch, rows: ListSink, letters: ListSink | None = None) -> None:
    """Deliver into these sinks."""
    monkeypatch.setattr(aws_lambda, "_process", lambda: (load({}, None, {}), pipeline_to(rows, letters)))


def test_an_event_is_delivered_to_the_sinks_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It has plain and aggregated records, and one that becomes a dead letter.

    A second event uses the same connection.
    """
    monkeypatch.setenv("CALL_CONSUMER_SINK", f"sqlite:{tmp_path}/rows.db")
    monkeypatch.setenv("CALL_CONSUMER_DEAD_LETTERS", f"jsonl:{tmp_path}/dead")
    data = [numbered_event(1), aggregate([("a", numbered_event(2)), ("b", numbered_event(3))]), b"no JSON"]
    assert aws_lambda.handler(lambda_event(*data), Context()) == DELIVERED
    made = aws_lambda._process()
    assert aws_lambda.handler(lambda_event(*data, numbered_event(4)), Context()) == DELIVERED
    assert aws_lambda._process() is made
    database = sqlite3.connect(tmp_path / "rows.db")
    found = database.execute(
        "SELECT event_id, stream_name, shard_id, sub_sequence_number FROM call_requests"
    ).fetchall()
    database.close()
    made[1].rows.close()
    assert sorted(found) == [
        (event_id(1), "twilio-events", "shardId-000000000006", 0),
        (event_id(2), "twilio-events", "shardId-000000000006", 0),
        (event_id(3), "twilio-events", "shardId-000000000006", 1),
        (event_id(4), "twilio-events", "shardId-000000000006", 0),
    ]
    letters = [json.loads(line) for file in tmp_path.rglob("*.dead-letters") for line in file.read_text().splitlines()]
    assert {letter["reason"] for letter in letters} == {"not-json"}


def test_the_response_names_the_first_record_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """All records before it are delivered, and none after it."""
    sink = ListSink(limits=BatchLimits(rows=2))
    write = sink.write

    def second_fails(rows: Rows) -> int:
        if len(sink.writes) == 1:
            raise SinkUnavailable
        return write(rows)

    sink.write = second_fails  # type: ignore[method-assign]
    into(monkeypatch, sink)
    assert aws_lambda.handler(lambda_event(*map(numbered_event, range(6))), Context()) == failed(2)
    assert sink.ids == event_ids([0, 1])


def test_a_failure_of_the_first_record_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lambda then repeats the whole event."""
    into(monkeypatch, ListSink(SinkUnavailable()))
    assert aws_lambda.handler(lambda_event(numbered_event(1), numbered_event(2)), Context()) == failed(0)


def test_no_write_starts_when_the_invocation_is_almost_out_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A time-out would repeat batches that are already delivered."""
    rows = ListSink(limits=BatchLimits(rows=1))
    into(monkeypatch, rows)
    assert aws_lambda.handler(lambda_event(*map(numbered_event, range(3))), Context(9_000, 1_999)) == failed(1)
    assert rows.ids == event_ids([0])


def test_an_unforeseen_error_is_raised_without_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts as an error of the function, and Lambda repeats the event."""
    into(monkeypatch, ListSink(ZeroDivisionError("+15551234567")))
    with pytest.raises(RuntimeError, match=r"^ZeroDivisionError at drivers.py:\d+$"):
        aws_lambda.handler(lambda_event(numbered_event(1)), Context())


def test_a_batch_ends_on_a_whole_kinesis_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the named record could be partly delivered."""
    rows = ListSink(limits=BatchLimits(rows=2))
    into(monkeypatch, rows)
    whole = aggregate([("a", numbered_event(number)) for number in range(5)])
    assert aws_lambda.handler(lambda_event(whole, numbered_event(5)), Context()) == DELIVERED
    assert [len(write) for write in rows.writes] == [5, 1]


def test_the_deployed_mapping_is_valid_for_lambda() -> None:
    """It requests partial batch responses, without which a failure would repeat the whole event."""
    mapping = json.loads((DEPLOY / "event-source-mapping.json").read_text())
    model = botocore.session.get_session().get_service_model("lambda")
    shape = model.operation_model("CreateEventSourceMapping").input_shape
    assert shape is not None
    validate_parameters(mapping, shape)
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["MaximumRetryAttempts"] == -1


def test_a_record_that_halts_is_the_first_failed_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is before it is delivered, and Lambda sends the rest again until the cause is mended."""
    rows = ListSink()
    pipeline = replace(pipeline_to(rows), policies=policies_of("not-json=halt"))
    monkeypatch.setattr(aws_lambda, "_process", lambda: (load({}, None, {}), pipeline))
    event = lambda_event(numbered_event(1), numbered_event(2), b"no json", numbered_event(3))
    assert aws_lambda.handler(event, Context()) == failed(2)
    assert rows.ids == event_ids([1, 2])
