"""Wire the `dead-letters` commands: create what they read and write from the settings."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from consumer.adapters import connect_leases, connect_sinks, connect_stream, dead_letter_store, destination_name
from consumer.dead_letters import Report
from consumer.dead_letters.attempt import attempt
from consumer.dead_letters.checkpoints import Checkpoints
from consumer.dead_letters.redrive import Destination, Redrive
from consumer.dead_letters.refetch import StreamAgain
from consumer.dead_letters.selection import Selection
from consumer.decoders import redaction_of, version_of
from consumer.errors import ConfigurationError, Retryable
from consumer.settings import Settings
from consumer.urls import parse


def create_redrive(
    settings: Settings, selection: Selection, compare: bool, report: Report, pause: Callable[[Retryable], None]
) -> Redrive:
    """Create the redrive of dead letters. Only the lease table is read, unless `compare` is False.

    Raises:
        ConfigurationError: a setting is wrong, or there is no checkpoint to compare with.
    """
    store, sink = dead_letter_store(settings, report), connect_sinks(settings)[0]
    checkpoints = _checkpoints(settings) if compare else None
    limits = replace(
        sink.limits, rows=settings.batch_rows or sink.limits.rows, bytes=settings.batch_bytes or sink.limits.bytes
    )
    destination = Destination(sink, destination_name(settings.sink), version_of(settings), limits)
    stream = StreamAgain(partial(connect_stream, settings), time.sleep, pause)
    decode = partial(attempt, raw=settings.raw, redaction=redaction_of(settings))
    return Redrive(store, selection, checkpoints, decode, stream.complete, destination, pause)


def _checkpoints(settings: Settings) -> Checkpoints:
    url = parse("--leases", settings.leases)
    if url.scheme == "sqlite" and not Path(url.path).is_file():  # else the table would be created
        raise ConfigurationError(f"--leases {settings.leases}: there is no such file")
    table = connect_leases(settings)
    try:
        found = Checkpoints(table.scan(), table.unreadable())
    except Retryable as error:
        raise ConfigurationError(f"{error}; or pass --without-checkpoints if no worker runs") from None
    finally:
        table.close()
    if not found:
        raise ConfigurationError(
            f"--leases {settings.leases}: no checkpoints of application {settings.name!r} there: name another table or"
            " --application, or pass --without-checkpoints if no worker runs"
        )
    return found
