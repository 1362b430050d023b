"""Create the adapters that the settings name. Only this module knows concrete streams, lease tables and sinks."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from consumer.aws.access import Access, Accesses
from consumer.aws.credentials import SharedCredentials
from consumer.dead_letters import DeadLetterStore, Report
from consumer.decoding.redaction import without_password
from consumer.errors import ConfigurationError
from consumer.leases import EditableLeaseTable, LeaseTable, Scope
from consumer.measured.lease_table import MeasuredLeaseTable
from consumer.measured.sink import MeasuredSink
from consumer.measured.stream import MeasuredStream
from consumer.plugins import module_of
from consumer.settings import Settings
from consumer.sinks import Sink, SinkSchema
from consumer.streams import Stream
from consumer.streams.kinesis import PATIENT_TIMEOUT, KinesisStream, kinesis_client
from consumer.telemetry.metrics import Metrics
from consumer.urls import options_of, parse
from schemas.call_request import CallRequest
from schemas.dead_letter import DeadLetter

# The module for each scheme of a URL.
SINKS = {
    "stdout": "consumer.sinks.stdout",
    "jsonl": "consumer.sinks.jsonl",
    "sqlite": "consumer.sinks.sqlite",
    "postgresql": "consumer.sinks.postgresql",
    "s3": "consumer.sinks.objects.s3",
    "gs": "consumer.sinks.objects.gs",
    "az": "consumer.sinks.objects.az",
    "file": "consumer.sinks.objects.directory",
}
ON_AWS = ("s3", "postgresql")  # schemes whose `connect` takes the `Accesses` of the process
LEASES = {
    "memory": "consumer.leases.memory",
    "sqlite": "consumer.leases.sqlite",
    "dynamodb": "consumer.leases.dynamodb.table",
}
LOCAL = ("jsonl", "sqlite", "file")  # their paths are files and directories of this host
DEAD_LETTERS = {
    "jsonl": "consumer.dead_letters.jsonl",
    "sqlite": "consumer.dead_letters.sqlite",
    "postgresql": "consumer.dead_letters.postgresql",
    **dict.fromkeys(("s3", "gs", "az", "file"), "consumer.dead_letters.objects"),
}
WRITING = 0.8  # of a lease, in which each call to a sink's server ends
ROW_KEY = ("event_source", "event_id", "event_type")
LISTS = ("twiml_verbs", "warnings")
DEAD_LETTER_KEY = ("stream_name", "shard_id", "sequence_number", "sub_sequence_number", "event_index", "reason")
DEAD_LETTER_SCHEMA = SinkSchema("dead_letters", tuple(DeadLetter.__annotations__), DEAD_LETTER_KEY, private=True)


@dataclass(frozen=True, slots=True)
class Adapters:
    """The adapters of one process, and the credentials that they share."""

    stream: Stream
    leases: LeaseTable
    rows: Sink
    dead_letters: Sink
    credentials: Sequence[SharedCredentials] = ()


def connect(settings: Settings) -> Adapters:
    """Create stream, lease table and sinks. No remote service is asked yet.

    Raises:
        ConfigurationError: a setting is wrong, and this is evident without asking a service.
    """
    _require_stream(settings)
    accesses = _accesses(settings)
    rows, dead_letters = connect_sinks(settings, accesses)
    return Adapters(
        _stream(settings, accesses.of(settings.stream_role_arn)),
        _leases(settings, accesses.of(settings.leases_role_arn)),
        rows,
        dead_letters,
        accesses.credentials,
    )


def _require_stream(settings: Settings) -> None:
    if not settings.stream:
        raise ConfigurationError("name the stream: its name or ARN is the first argument, or CALL_CONSUMER_STREAM")


def _accesses(settings: Settings) -> Accesses:
    return Accesses(settings.aws_region, settings.endpoint_url)


def measured(adapters: Adapters, metrics: Metrics) -> Adapters:
    """Return the same adapters, which also count their failed calls and time their writes."""
    return replace(
        adapters,
        stream=MeasuredStream(adapters.stream, metrics.read_failed),
        leases=MeasuredLeaseTable(adapters.leases, metrics.lease_table_failed),
        rows=MeasuredSink(adapters.rows, partial(metrics.sink_wrote, "rows")),
        dead_letters=MeasuredSink(adapters.dead_letters, partial(metrics.sink_wrote, "dead-letters")),
    )


def connect_sinks(settings: Settings, accesses: Accesses | None = None) -> tuple[Sink, Sink]:
    """Create the sink for rows and the sink for dead letters.

    Raises:
        ConfigurationError: a URL names no sink, or its options are wrong.
    """
    on_aws = accesses or _accesses(settings)
    (rows, of_rows), (dead_letters, of_dead_letters) = _sinks(settings)
    return connect_sink("--sink", rows, of_rows, on_aws), connect_sink(
        "--dead-letters", dead_letters, of_dead_letters, on_aws
    )


def table_scripts(settings: Settings) -> list[str]:
    """Return the scripts that create the tables which the sinks need; of both in PostgreSQL if no sink needs one.

    Raises:
        ConfigurationError: a URL names no sink, or its options are wrong.
    """
    sinks = _sinks(settings)
    needed = [_table_script(text, schema) for text, schema in sinks]
    return list(filter(None, needed)) or [_table_script("postgresql:", schema) for _, schema in sinks]


def _table_script(text: str, schema: SinkSchema) -> str:
    """Return the script of one sink, or "" if it needs none."""
    url = parse("--dead-letters" if schema.private else "--sink", text, SINKS)
    module = module_of(url, SINKS, "call_consumer.sinks")
    return module.table_script(options_of(url, module.Options), schema) if hasattr(module, "table_script") else ""


def _sinks(settings: Settings) -> tuple[tuple[str, SinkSchema], tuple[str, SinkSchema]]:
    """Return the URL and the content of the sink for rows, and of the sink for dead letters."""
    timeout = settings.lease_duration * WRITING
    rows, dead_letters = (replace(schema, timeout=timeout) for schema in (row_schema(settings.raw), DEAD_LETTER_SCHEMA))
    return (settings.sink, rows), (settings.dead_letters, dead_letters)


def row_schema(raw: bool = False) -> SinkSchema:
    """Return the schema of rows. With `raw` they include the original event."""
    event = ("event",) if raw else ()
    fields = (*CallRequest.__annotations__, *event)
    return SinkSchema("call_requests", fields, ROW_KEY, json=("request_parameters", *event), lists=LISTS)


def connect_sink(label: str, text: str, schema: SinkSchema, accesses: Accesses | None = None) -> Sink:
    """Create the sink of a URL. `label` names the setting that it came from, for messages.

    Raises:
        ConfigurationError: the URL names no sink, or its options are wrong.
    """
    url = parse(label, text, SINKS)
    module = module_of(url, SINKS, "call_consumer.sinks")
    more = (accesses or Accesses(),) if url.scheme in ON_AWS else ()
    sink: Sink = module.connect(url, options_of(url, module.Options), schema, *more)
    if missing := [name for name in ("limits", "repeats", "rejects_rows") if not hasattr(sink, name)]:
        raise ConfigurationError(
            f"{label} {url.scheme}: the sink does not declare {', '.join(missing)}. Update its package"
        )
    return sink


def connect_dead_letters(text: str, report: Report, accesses: Accesses | None = None) -> DeadLetterStore:
    """Create the reader for a place of dead letters. `report` is told about each one that cannot be read.

    Raises:
        ConfigurationError: the place is missing, or keeps no dead letters that can be read.
    """
    url = parse("--dead-letters", text, DEAD_LETTERS)
    if url.scheme == "stdout":
        raise ConfigurationError("--dead-letters stdout: keeps none; save the output and say jsonl:FILE")
    module = module_of(url, DEAD_LETTERS, "call_consumer.dead_letters", "place of dead letters")
    more = (accesses or Accesses(),) if url.scheme in ON_AWS else ()
    store: DeadLetterStore = module.connect(url, options_of(url, module.Options), report, *more)
    return store


def dead_letter_store(settings: Settings, report: Report) -> DeadLetterStore:
    """Create the reader for the place that the settings name.

    Raises:
        ConfigurationError: as `connect_dead_letters`.
    """
    return connect_dead_letters(settings.dead_letters, report, _accesses(settings))


def connect_stream(settings: Settings) -> Stream:
    """Create the stream alone.

    Raises:
        ConfigurationError: a setting is wrong.
    """
    _require_stream(settings)
    return _stream(settings, _accesses(settings).of(settings.stream_role_arn))


def connect_leases(settings: Settings) -> EditableLeaseTable:
    """Create the lease table alone, for a command that reads no stream.

    Raises:
        ConfigurationError: a setting is wrong.
    """
    _require_stream(settings)
    return _leases(settings, _accesses(settings).of(settings.leases_role_arn))


def destination_name(text: str) -> str:
    """Return a name for the place that a sink's URL leads to, from any directory. It has no password."""
    url = parse("--sink", text)
    path = str(Path(url.path).absolute()) if url.scheme in LOCAL else without_password(url.path)
    options = "&".join(f"{name}={value}" for name, value in sorted(url.options.items()))
    return f"{url.scheme}:{path}" + (f" #{sha256(options.encode()).hexdigest()[:8]}" if options else "")


def _stream(settings: Settings, access: Access) -> Stream:
    target = (settings.stream, settings.region, settings.endpoint_url, settings.threads + 2)
    client = partial(kinesis_client, *target, access=access)
    return KinesisStream(settings.stream, client(), lambda: client(read_timeout=PATIENT_TIMEOUT))


def _leases(settings: Settings, access: Access) -> EditableLeaseTable:
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
    table: EditableLeaseTable = module.connect(url, options_of(url, module.Options), scope)
    return table
