"""Wire the program: create a worker, an examination, a pipeline or a record processor from the settings."""

import random
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from consumer.adapters import SINKS, Adapters, connect, connect_sinks, measured
from consumer.aws.renewal import Renewal
from consumer.decoders import decoders, redaction_of, rejections_of, version_of
from consumer.doctor.effective_settings import startup_fields
from consumer.fleet.coordinator import Coordinator
from consumer.fleet.existing_checkpoints import check_existing_checkpoints
from consumer.fleet.initial_position import InitialPosition, first_read
from consumer.fleet.running_shards import Fleet, RunningShards
from consumer.leases import WorkerIdentity
from consumer.pipeline.dead_letters import WORKER_VERSION, encode_dead_letter
from consumer.pipeline.intake import Decode
from consumer.pipeline.pipeline import Pipeline, limits_of
from consumer.records import DeadLetter, Record, Shard
from consumer.runtime.clock import boottime
from consumer.runtime.memory_budget import MemoryBudget
from consumer.runtime.scheduler import Lane, Scheduler, ThreadScheduler
from consumer.runtime.server_clock import ServerClock
from consumer.settings import Settings
from consumer.shard.context import PollingPolicy, ShardContext
from consumer.shard.trimming import Retention
from consumer.sinks import Sink
from consumer.structured_log import structlog
from consumer.telemetry.dead_letter_log import DeadLetterLog
from consumer.telemetry.metrics import Metrics
from consumer.telemetry.outages import Outages
from consumer.worker import Closeable, Health, Worker

if TYPE_CHECKING:  # each command loads only its own rooms
    from consumer.doctor.examination import Examination
    from consumer.multilang.record_processor import RecordProcessor
    from consumer.replay.replay import Replay


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """The objects that the tasks of one worker process share."""

    adapters: Adapters
    metrics: Metrics
    budget: MemoryBudget
    clock: ServerClock
    outages: Outages
    dead_letter_log: DeadLetterLog
    replay: "Replay | None" = None


def create_worker(settings: Settings, replay: "Replay | None" = None) -> Worker:
    """Create the worker, ready to run, or that of a `replay`. No remote service is asked yet.

    Raises:
        ConfigurationError: a setting is wrong.
    """
    metrics, log = Metrics(clock=boottime), structlog.get_logger()
    adapters = measured(connect(settings), metrics)
    if replay is not None:
        adapters = replace(adapters, stream=replay.stream(adapters.stream))
    parts = WorkerParts(
        adapters,
        metrics,
        MemoryBudget(settings.memory),
        ServerClock(adapters.stream.summary),
        Outages(log, boottime),
        DeadLetterLog(log, boottime),
        replay,
    )
    return Worker(
        coordinator=lambda scheduler: _coordinator(settings, parts, scheduler),
        checks=_checks(parts),
        closes=[
            parts.dead_letter_log.flush,
            *(part.close for part in (adapters.rows, adapters.dead_letters, adapters.leases, adapters.stream)),
        ],
        metrics=metrics,
        credentials=[Renewal(credentials, parts.outages) for credentials in adapters.credentials],
        probes=_probes(settings.http_address, parts),
        threads=settings.threads,
        shutdown_timeout=settings.shutdown_timeout,
        until_caught_up=settings.until_caught_up,
        fail_on_dead_letters=settings.fail_on_dead_letters,
    )


def create_examination(settings: Settings) -> "Examination":
    """Create the examination that `doctor` runs. No remote service is asked yet.

    Raises:
        ConfigurationError: a setting is wrong.
    """
    from consumer.doctor.examination import Examination
    from consumer.doctor.storage import folder_of

    made = connect(settings)
    redaction_of(settings)  # its key must be readable
    folders = {
        "leases": folder_of("--leases", settings.leases),
        "sink": folder_of("--sink", settings.sink),
        "dead letters": folder_of("--dead-letters", settings.dead_letters),
    }
    start = first_read(settings.from_)
    return Examination(made.stream, made.leases, made.rows, made.dead_letters, made.credentials, folders, start)


def create_pipeline(settings: Settings) -> Pipeline:
    """Create the pipeline for a driver other than the worker. Nothing is written yet.

    Raises:
        ConfigurationError: a setting is wrong.
    """
    rows, dead_letters = connect_sinks(settings)
    log = DeadLetterLog(structlog.get_logger(), boottime)
    return _pipeline(settings, rows, dead_letters, time.time, Metrics(), log)


def create_record_processor(settings: Settings, reading: int, writing: int) -> "RecordProcessor":
    """Create the record processor of one shard, which talks to KCL's daemon over two file descriptors.

    Raises:
        ConfigurationError: a setting is wrong, or the daemon cannot run with it.
    """
    from consumer.multilang.record_processor import RecordProcessor
    from consumer.multilang.settings import check_settings
    from consumer.multilang.wire import Wire

    check_settings(settings, SINKS)
    stream_name = settings.stream.rpartition("/")[2]
    return RecordProcessor(
        Wire(reading, writing),
        pipeline := create_pipeline(settings),
        decoders(settings, stream_name, keep_data=pipeline.rows.rejects_rows),
        boottime,
        structlog.get_logger(),
        settings.shutdown_timeout,
    )


def _checks(parts: WorkerParts) -> dict[str, Callable[[], object]]:
    """Return the checks before the start, each under the name of its dependency for messages."""
    adapters = parts.adapters
    return {
        **{credentials.asking: credentials.ready for credentials in adapters.credentials},
        "the stream": parts.clock.start,
        "the lease table": adapters.leases.check,
        "the checkpoints": lambda: check_existing_checkpoints(
            adapters.leases, parts.clock.summary, parts.replay is not None
        ),
        "the sink": adapters.rows.check,
        "the dead letters": adapters.dead_letters.check,
    }


def _probes(address: tuple[str, int] | None, parts: WorkerParts) -> Callable[[Health], Closeable] | None:
    """Return a function that creates the HTTP server; None without an address. Load its modules only when needed."""
    if address is None:
        return None
    from consumer.telemetry.exposition import Exposition
    from consumer.telemetry.http import HttpServer, listen
    from consumer.telemetry.pages import pages

    shown, log = Exposition(parts.metrics, parts.budget.held, WORKER_VERSION), structlog.get_logger()
    return lambda health: HttpServer(listen(address), pages(health.not_live, health.not_ready, shown), log)


def _coordinator(settings: Settings, parts: WorkerParts, scheduler: ThreadScheduler) -> Coordinator:
    """Create the coordinator once the checks have passed, because it needs the stream's summary."""
    summary = parts.clock.summary
    identity = WorkerIdentity(settings.worker, uuid.uuid4().hex)
    log = structlog.get_logger().bind(worker=identity.worker_id)
    fleet = Fleet(
        identity,
        settings.lease_duration,
        most_leases=settings.max_leases,
        until=_until(settings, parts),
    )
    context = _shard_context(settings, parts, log, scheduler)
    if parts.replay is not None:
        scheduler.add(parts.replay.progress(parts.adapters.leases.scan, parts.metrics, summary), Lane.DISPLAY)
    log.info("worker.started", stream=summary.name, **startup_fields(settings))
    initial_position = InitialPosition.chosen(settings.from_, summary)
    return Coordinator(RunningShards(fleet, parts.adapters.leases, context, initial_position, scheduler), scheduler)


def _until(settings: Settings, parts: WorkerParts) -> datetime | None:
    """Return the time up to which the run reads; None: it runs until it is stopped."""
    if parts.replay is not None:
        return parts.replay.end
    return parts.clock.summary.server_time if settings.until_caught_up else None


def _shard_context(
    settings: Settings, parts: WorkerParts, log: structlog.stdlib.BoundLogger, scheduler: Scheduler
) -> ShardContext:
    adapters, clock = parts.adapters, parts.clock
    retention = Retention(adapters.stream.summary, clock.summary.retention)
    for task in (retention, parts.dead_letter_log):
        scheduler.add(task, Lane.COORDINATOR)
    outputs = adapters.rows, adapters.dead_letters
    pipeline = _pipeline(settings, *outputs, lambda: clock().timestamp(), parts.metrics, parts.dead_letter_log)
    return ShardContext(
        stream=adapters.stream,
        pipeline=pipeline if parts.replay is None else replace(pipeline, label=parts.replay.label),
        budget=parts.budget,
        polling=PollingPolicy(
            settings.poll_interval, settings.until_caught_up, parts.replay.share if parts.replay else 1.0
        ),
        clock=boottime,
        server_time=clock,
        decoder=_decoder(settings, parts),
        rng=random.Random(),
        log=log,
        retention=retention,
        shared_outages=parts.outages,
    )


def _decoder(settings: Settings, parts: WorkerParts) -> Callable[[Shard], Decode[Record]]:
    """Return a function that creates the decoder of a shard; that of a replay leaves out some rows."""
    made = decoders(settings, parts.clock.summary.name, keep_data=parts.adapters.rows.rejects_rows)
    replay = parts.replay
    return made if replay is None else lambda shard: replay.decoder(made(shard))


def _pipeline(
    settings: Settings,
    rows: Sink,
    dead_letters: Sink,
    clock: Callable[[], float],
    metrics: Metrics,
    log: DeadLetterLog,
) -> Pipeline:
    limits = limits_of(rows, settings.memory, settings.batch_rows, settings.batch_bytes, settings.batch_age)
    strict = redaction_of(settings).strict

    def encode(dead_letter: DeadLetter) -> bytes:
        log.note(dead_letter)
        return encode_dead_letter(dead_letter, clock(), strict)

    return Pipeline(
        rows, dead_letters, limits, encode, metrics, version_of(settings), *rejections_of(settings), log.flush
    )
