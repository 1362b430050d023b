"""Puts a worker together from its settings: the only place that knows concrete classes."""

import random
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

import structlog

from consumer.aws.access import Access
from consumer.aws.credentials import Renewal, SharedCredentials
from consumer.decoding.decoder import Decoder
from consumer.decoding.decoder_version import decoder_version
from consumer.doctor.examination import Examination
from consumer.doctor.places import folder_of
from consumer.doctor.values import about
from consumer.errors import ConfigurationError
from consumer.fleet.coordinator import Coordinator
from consumer.fleet.lineage import LATEST_MARGIN, InitialPosition
from consumer.fleet.running_shards import Fleet, RunningShards
from consumer.leases import LeaseTable, Scope
from consumer.leases import WorkerIdentity as Identity
from consumer.measured.lease_table import MeasuredLeaseTable
from consumer.measured.sink import MeasuredSink
from consumer.measured.stream import MeasuredStream
from consumer.multilang.child import RecordProcessor
from consumer.multilang.wire import Wire
from consumer.pipeline.dead_letters import WORKER_VERSION, encode_dead_letter
from consumer.pipeline.pipeline import Pipeline
from consumer.pipeline.spool import EncodedDeadLetter
from consumer.records import LATEST, TRIM_HORIZON, Position, StreamSummary
from consumer.records import DeadLetter as DeadLetterValue
from consumer.runtime.clock import boottime
from consumer.runtime.memory_budget import MemoryBudget
from consumer.runtime.scheduler import Lane, ThreadScheduler
from consumer.settings import Settings
from consumer.shard.context import PollingPolicy, ShardContext
from consumer.shard.trimming import Retention
from consumer.sinks import Sink, SinkSchema
from consumer.startup_checks import ServerClock, look_at_checkpoints
from consumer.streams import Stream
from consumer.streams.kinesis import PATIENT_TIMEOUT, KinesisStream, kinesis_client
from consumer.telemetry.dead_letter_log import DeadLetterLog
from consumer.telemetry.metrics import Metrics
from consumer.telemetry.outages import Outages
from consumer.urls import module_of, options_of, parse
from consumer.worker import Health, Probes
from consumer.worker import Worker as Process
from schemas.call_request import CallRequest
from schemas.dead_letter import DeadLetter

SINKS = {"stdout": "consumer.sinks.stdout", "jsonl": "consumer.sinks.jsonl", "sqlite": "consumer.sinks.sqlite"}
LEASES = {
    "memory": "consumer.leases.memory",
    "sqlite": "consumer.leases.sqlite",
    "dynamodb": "consumer.leases.dynamodb.table",
}
ROW_KEY = ("event_source", "event_id", "event_type")
LETTER_KEY = ("stream_name", "shard_id", "sequence_number", "sub_sequence_number", "event_index", "reason")


@dataclass(frozen=True, slots=True)
class Parts:
    """What a worker, and whoever examines one, is made of."""

    stream: Stream
    leases: LeaseTable
    rows: Sink
    dead_letters: Sink
    credentials: Sequence[SharedCredentials] = ()


def parts(settings: Settings) -> Parts:
    """Connect to nothing yet, but find every mistake that can be found without.

    Raises:
        ConfigurationError: one line that says what is wrong.
    """
    if not settings.stream:
        raise ConfigurationError("name the stream: call-consumer run STREAM, or CALL_CONSUMER_STREAM")
    rows, dead_letters = _sinks(settings)
    found = Access(settings.aws_region)
    accesses = {"": found}
    for arn in filter(None, (settings.stream_role_arn, settings.leases_role_arn)):
        accesses.setdefault(arn, Access(settings.aws_region, arn, found))
    place = (settings.stream, settings.region, settings.endpoint_url, settings.threads + 2)
    connect = partial(kinesis_client, *place, access=accesses[settings.stream_role_arn])
    return Parts(
        KinesisStream(settings.stream, connect(), lambda: connect(read_timeout=PATIENT_TIMEOUT)),
        _leases(settings, accesses[settings.leases_role_arn]),
        rows,
        dead_letters,
        [access.credentials for access in accesses.values()],
    )


def examination(settings: Settings) -> Examination:
    """What `doctor` does; connects to nothing yet.

    Raises:
        ConfigurationError: one line that says what is wrong.
    """
    made = parts(settings)
    folders = {
        "leases": folder_of("--leases", settings.leases),
        "sink": folder_of("--sink", settings.sink),
        "dead letters": folder_of("--dead-letters", settings.dead_letters),
    }
    start = LATEST if settings.from_ == "latest" else TRIM_HORIZON
    if isinstance(settings.from_, datetime):
        start = Position.at_timestamp(settings.from_)
    return Examination(made.stream, made.leases, made.rows, made.dead_letters, made.credentials, folders, start)


def outlets(settings: Settings) -> Pipeline:
    """What a driver of the pipeline other than the worker needs; connects to nothing yet.

    Raises:
        ConfigurationError: one line that says what is wrong.
    """
    rows, dead_letters = _sinks(settings)
    return _outlets(settings, rows, dead_letters, time.time, Metrics(), DeadLetterLog(structlog.get_logger(), boottime))


def _outlets(
    settings: Settings,
    rows: Sink,
    dead_letters: Sink,
    clock: Callable[[], float],
    metrics: Metrics,
    told: DeadLetterLog,
) -> Pipeline:
    given = {"rows": settings.batch_rows, "bytes": settings.batch_bytes, "age": settings.batch_age}
    limits = replace(rows.limits, **{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    version = decoder_version(raw=settings.raw)

    def sealed(letter: DeadLetterValue) -> EncodedDeadLetter:
        told.note(letter)
        return encode_dead_letter(letter, clock())

    return Pipeline(rows, dead_letters, limits, sealed, metrics, version, told.tell)


def multilang_child(settings: Settings, reading: int, writing: int) -> RecordProcessor:
    """The record processor of one shard, which talks to KCL's daemon over two file descriptors.

    Raises:
        ConfigurationError: one line that says what is wrong.
    """
    if not settings.stream:
        raise ConfigurationError("name the stream: call-consumer kcl-daemon STREAM, or CALL_CONSUMER_STREAM")
    for label, text in (("--sink", settings.sink), ("--dead-letters", settings.dead_letters)):
        if parse(label, text, SINKS).scheme == "stdout":
            raise ConfigurationError(f"{label} stdout: the daemon talks over standard output here; name another place")
    stream_name = settings.stream.rpartition("/")[2]
    return RecordProcessor(
        Wire(reading, writing),
        outlets(settings),
        lambda shard: Decoder(stream_name, shard, settings.raw),
        boottime,
        structlog.get_logger(),
        settings.shutdown_timeout,
    )


def build(settings: Settings) -> Process:
    """The worker, ready to run.

    Raises:
        ConfigurationError: one line that says what is wrong.
    """
    metrics = Metrics(clock=boottime)
    made = _measured(parts(settings), metrics)
    budget = MemoryBudget(settings.memory)
    outages = Outages(structlog.get_logger(), boottime)
    clock, told = ServerClock(made.stream.summary), DeadLetterLog(structlog.get_logger(), boottime)
    return Process(
        coordinator=lambda scheduler: _coordinator(settings, made, metrics, budget, clock, told, outages, scheduler),
        checks={
            **{found.asking: found.ready for found in made.credentials},
            "the stream": clock.start,
            "the lease table": made.leases.check,
            "the checkpoints": lambda: look_at_checkpoints(made.leases, clock.summary),
            "the sink": made.rows.check,
            "the dead letters": made.dead_letters.check,
        },
        closes=[told.tell, made.rows.close, made.dead_letters.close, made.leases.close, made.stream.close],
        metrics=metrics,
        credentials=[Renewal(credentials, outages) for credentials in made.credentials],
        probes=_probes(settings.http_address, metrics, budget),
        threads=settings.threads,
        shutdown_timeout=settings.shutdown_timeout,
        until_caught_up=settings.until_caught_up,
        fail_on_dead_letters=settings.fail_on_dead_letters,
    )


def _measured(made: Parts, metrics: Metrics) -> Parts:
    return replace(
        made,
        stream=MeasuredStream(made.stream, metrics.read_failed),
        leases=MeasuredLeaseTable(made.leases, metrics.lease_table_failed),
        rows=MeasuredSink(made.rows, partial(metrics.sink_wrote, "rows")),
        dead_letters=MeasuredSink(made.dead_letters, partial(metrics.sink_wrote, "dead-letters")),
    )


def _probes(
    address: tuple[str, int] | None, metrics: Metrics, budget: MemoryBudget
) -> Callable[[Health], Probes] | None:
    """The web server, when it is asked for; else nothing of it is loaded."""
    if address is None:
        return None
    from consumer.telemetry.exposition import Exposition
    from consumer.telemetry.http import HttpServer, listen
    from consumer.telemetry.pages import pages

    shown, log = Exposition(metrics, budget.held, WORKER_VERSION), structlog.get_logger()
    return lambda health: HttpServer(listen(address), pages(health.not_live, health.not_ready, shown), log)


def _coordinator(
    settings: Settings,
    made: Parts,
    metrics: Metrics,
    budget: MemoryBudget,
    clock: ServerClock,
    told: DeadLetterLog,
    outages: Outages,
    scheduler: ThreadScheduler,
) -> Coordinator:
    retention = Retention(made.stream.summary, clock.summary.retention)
    scheduler.add(retention, Lane.COORDINATOR)
    scheduler.add(told, Lane.COORDINATOR)
    me = Identity(settings.worker, uuid.uuid4().hex)
    log = structlog.get_logger().bind(worker=me.worker_id)
    world = ShardContext(
        stream=made.stream,
        pipeline=_outlets(settings, made.rows, made.dead_letters, lambda: clock().timestamp(), metrics, told),
        budget=budget,
        polling=PollingPolicy(settings.poll_interval, eager=settings.until_caught_up),
        clock=boottime,
        server_time=clock,
        processor=lambda shard: Decoder(clock.summary.name, shard, settings.raw),
        rng=random.Random(),
        log=log,
        retention=retention,
        shared_outages=outages,
    )
    fleet = Fleet(
        me,
        settings.lease_duration,
        most_leases=settings.max_leases,
        until=clock.summary.server_time if settings.until_caught_up else None,
    )
    log.info("worker.started", stream=clock.summary.name, **about(settings))
    running_shards = RunningShards(fleet, made.leases, world, _origin(settings, clock.summary), scheduler)
    return Coordinator(running_shards, scheduler)


def _origin(settings: Settings, summary: StreamSummary) -> InitialPosition:
    if settings.from_ == "latest":
        return InitialPosition(LATEST, summary.server_time - LATEST_MARGIN, summary.created_at)
    if isinstance(settings.from_, datetime):
        return InitialPosition(TRIM_HORIZON, settings.from_, summary.created_at)
    return InitialPosition(TRIM_HORIZON, None, summary.created_at)


def _sinks(settings: Settings) -> tuple[Sink, Sink]:
    """Where rows go, and where dead letters go."""
    raw = ("event",) if settings.raw else ()
    rows = SinkSchema("call_requests", (*CallRequest.__annotations__, *raw), ROW_KEY)
    letters = SinkSchema("dead_letters", tuple(DeadLetter.__annotations__), LETTER_KEY, private=True)
    return _sink("--sink", settings.sink, rows), _sink("--dead-letters", settings.dead_letters, letters)


def _sink(label: str, text: str, contents: SinkSchema) -> Sink:
    url = parse(label, text, SINKS)
    module = module_of(url, SINKS, "call_consumer.sinks")
    sink: Sink = module.connect(url, options_of(url, module.Options), contents)
    return sink


def _leases(settings: Settings, access: Access) -> LeaseTable:
    url = parse("--leases", settings.leases, LEASES)
    module: Any = module_of(url, LEASES, "call_consumer.leases", "lease table")
    scope = Scope(
        settings.name,
        settings.stream.rpartition("/")[2],
        settings.lease_duration / 6,
        settings.aws_region,
        settings.endpoint_url,
        access,
    )
    table: LeaseTable = module.connect(url, options_of(url, module.Options), scope)
    return table
