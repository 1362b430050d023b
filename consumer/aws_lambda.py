"""Deliver records from a Lambda event source mapping. The handler is `consumer.aws_lambda.handler`.

An event contains records of one shard, in order and with intact KPL aggregates. They are delivered in order. The
response names the first record that failed, and Lambda continues there (`ReportBatchItemFailures`). Settings come only
from the environment.
https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html
"""

import base64
import time
from collections import deque
from collections.abc import Mapping
from functools import cache
from typing import Any, Protocol

from consumer.app import create_pipeline
from consumer.decoders import decoders
from consumer.errors import ConsumerError, LeaseStale, RecordHalts, Retryable, where
from consumer.leases import Pending
from consumer.pipeline.intake import fill
from consumer.pipeline.pipeline import Pipeline
from consumer.pipeline.rejections import over
from consumer.records import Position, Record, Shard
from consumer.settings import Settings, load
from consumer.structured_log import structlog
from consumer.telemetry import logs

# Milliseconds. Start no write with less time left, because the response must still report what was written.
TIME_TO_RESPOND = 2_000
Failures = dict[str, list[dict[str, str]]]


class Context(Protocol):
    """The part of Lambda's context object that is used."""

    def get_remaining_time_in_millis(self) -> int: ...


class InvocationCheckpointer:
    """Allow deliveries while the invocation has time. The response to Lambda takes the place of a checkpoint."""

    pending = None

    def __init__(self, context: Context) -> None:
        self._context = context

    def ensure_held(self) -> None:
        if self._context.get_remaining_time_in_millis() < TIME_TO_RESPOND:
            raise LeaseStale("the invocation is about to time out")

    def prepare(self, pending: Pending) -> None:
        """Do nothing: no state outlives an invocation."""

    def checkpoint(self, position: Position) -> None:
        """Do nothing: Lambda continues at the record that the response names."""


def handler(event: Mapping[str, Any], context: Context) -> Failures:
    """Deliver the records of an event. Return the first failed record in Lambda's format; empty if none failed.

    Lambda logs what is raised, and repeats the whole event. It freezes the process after the response, so flush the log
    first.

    Raises:
        ConsumerError: the settings or a sink cannot work.
        RuntimeError: an unforeseen error, given only by type and location.
    """
    problem = ""
    try:
        return _deliver(event, context)
    except ConsumerError:
        raise
    except Exception as error:  # the text may contain a value of an event
        problem = f"{type(error).__name__} at {where(error)}"
    finally:
        logs.flush()
    raise RuntimeError(problem)


def _deliver(event: Mapping[str, Any], context: Context) -> Failures:
    settings, pipeline = _process()
    first = event["Records"][0]
    shard = Shard(first["eventID"].partition(":")[0])
    stream_name = first["eventSourceARN"].rpartition("/")[2]
    judge = pipeline.judge()
    decode = over(judge, decoders(settings, stream_name, keep_data=pipeline.rows.rejects_rows)(shard))
    delivery = pipeline.delivery(InvocationCheckpointer(context), judge=judge)
    records, failures = [_record(item["kinesis"]) for item in event["Records"]], list[dict[str, str]]()
    waiting = deque(records)
    while waiting:
        start, buffer = waiting[0].sequence, pipeline.buffer(shard.shard_id)
        try:
            fill(buffer, decode, waiting, time.monotonic())
            delivery.deliver(buffer.batch())
        except Retryable as error:
            structlog.get_logger().warning("batch.failed", shard=shard.shard_id, error=str(error))
            return {"batchItemFailures": [{"itemIdentifier": str(start)}]}
        except RecordHalts as error:  # Lambda sends the records from that one on again
            structlog.get_logger().error("shard.halted", shard=shard.shard_id, error=str(error))
            failures = [{"itemIdentifier": str(error.sequence)}]
            waiting = deque(record for record in records if start <= record.sequence < error.sequence)
    pipeline.flush_log()
    structlog.get_logger().info("batch.delivered", shard=shard.shard_id, **pipeline.metrics.summary())
    return {"batchItemFailures": failures}


@cache
def _process() -> tuple[Settings, Pipeline]:
    """Load the settings and connect once per process, which Lambda keeps for further invocations."""
    settings = load({})
    logs.configure(settings.log_level, settings.log_format)
    pipeline = create_pipeline(settings)
    pipeline.check()
    return settings, pipeline


def _record(item: Mapping[str, Any]) -> Record:
    data = base64.b64decode(item["data"])
    return Record(int(item["sequenceNumber"]), item["partitionKey"], item["approximateArrivalTimestamp"], data)
