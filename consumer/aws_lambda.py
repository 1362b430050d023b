"""`consumer.aws_lambda.handler`: the pipeline behind a Lambda event source mapping with `ReportBatchItemFailures`.

An event holds records of one shard, in order and with KPL aggregates intact. They are delivered in order; the answer
names the first record that could not be, and Lambda starts again from it. Settings come from the environment alone.
https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html
"""

import base64
import time
from collections import deque
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Protocol

import structlog

from consumer.app import create_pipeline
from consumer.decoding.decoder import Decoder, Processed
from consumer.errors import ConsumerError, LeaseStale, Retryable, where
from consumer.leases import Pending
from consumer.pipeline.batching import Buffer
from consumer.pipeline.pipeline import Pipeline
from consumer.records import TRIM_HORIZON, Position, Record, Shard
from consumer.settings import Settings, load
from consumer.telemetry import logs

# With less than this left of the invocation no write is begun, milliseconds: what is done by then has to be reported.
TIME_TO_ANSWER = 2_000
Failures = dict[str, list[dict[str, str]]]


class Context(Protocol):
    """What Lambda says of the invocation."""

    def get_remaining_time_in_millis(self) -> int: ...


class Invocation:
    """The fence of one invocation: the shard is ours until time is up, and the answer is the checkpoint."""

    pending = None

    def __init__(self, context: Context) -> None:
        self._context = context

    def ensure_held(self) -> None:
        if self._context.get_remaining_time_in_millis() < TIME_TO_ANSWER:
            raise LeaseStale("the invocation is about to time out")

    def prepare(self, pending: Pending) -> None:
        """Nothing outlives an invocation."""

    def checkpoint(self, position: Position) -> None:
        """Everything up to the failure that is reported counts as delivered."""


def handler(event: Mapping[str, Any], context: Context) -> Failures:
    """Deliver an event's records; an unforeseen error is raised by its type and place, and Lambda repeats all of them.

    Lambda logs what is raised, and freezes the process once there is an answer.
    """
    problem = ""
    try:
        return _deliver(event, context)
    except ConsumerError:
        raise
    except Exception as error:  # its text may carry a value of an event
        problem = f"{type(error).__name__} at {where(error)}"
    finally:
        logs.flush()
    raise RuntimeError(problem)


def _deliver(event: Mapping[str, Any], context: Context) -> Failures:
    settings, out = _process()
    first = event["Records"][0]
    shard = Shard(first["eventID"].partition(":")[0])
    decoder = Decoder(first["eventSourceARN"].rpartition("/")[2], shard, settings.raw)
    intake, delivery = out.intake(), out.delivery(Invocation(context))
    waiting = deque(_record(item["kinesis"]) for item in event["Records"])
    while waiting:
        start, buffer = waiting[0].sequence, out.buffer(shard.shard_id)
        intake.take(buffer, _decoded(decoder, waiting, buffer), time.monotonic())
        try:
            delivery.deliver(buffer.batch())
        except Retryable as error:
            structlog.get_logger().warning("batch.failed", shard=shard.shard_id, error=str(error))
            return {"batchItemFailures": [{"itemIdentifier": str(start)}]}
    out.tell()
    structlog.get_logger().info("batch.delivered", shard=shard.shard_id, **out.metrics.summary())
    return {"batchItemFailures": []}


@cache
def _process() -> tuple[Settings, Pipeline]:
    """Made at the first event and kept, connections too, for as long as Lambda keeps the process."""
    settings = load({})
    logs.configure(settings.log_level, settings.log_format)
    made = create_pipeline(settings)
    made.check()
    return settings, made


def _decoded(decoder: Decoder, waiting: deque[Record], buffer: Buffer) -> Iterator[tuple[Record, Processed]]:
    while waiting and not buffer.full():
        record = waiting.popleft()
        yield record, decoder(record, TRIM_HORIZON)


def _record(item: Mapping[str, Any]) -> Record:
    data = base64.b64decode(item["data"])
    return Record(int(item["sequenceNumber"]), item["partitionKey"], item["approximateArrivalTimestamp"], data)
