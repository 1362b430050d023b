"""Wire the `checkpoints` commands: create what they show and change from the settings."""

import uuid
from datetime import UTC, datetime
from functools import partial

from consumer.adapters import connect_leases, connect_stream
from consumer.checkpoints.checkpoints import Checkpoints
from consumer.checkpoints.editor import Editor
from consumer.checkpoints.owners import Owners
from consumer.errors import ConfigurationError
from consumer.leases import WorkerIdentity
from consumer.settings import Settings
from consumer.telemetry import logs
from consumer.urls import parse


def create_checkpoints(settings: Settings) -> Checkpoints:
    """Create what `checkpoints` shows and changes. No remote service is asked yet.

    Raises:
        ConfigurationError: a setting is wrong, or the lease table ends with its process.
    """
    if parse("--leases", settings.leases).scheme == "memory":
        raise ConfigurationError(
            "--leases memory: its checkpoints end with the worker's process: name the table of a worker, such as"
            " sqlite:call-consumer.db"
        )
    table = connect_leases(settings)
    me = WorkerIdentity(f"checkpoints-{settings.worker}", uuid.uuid4().hex)
    return Checkpoints(
        settings.name,
        settings.stream.rpartition("/")[2],
        settings.leases,
        partial(connect_stream, settings),
        table,
        Owners(table, settings.lease_duration, logs.say),
        Editor(table, me, settings.lease_duration),
        lambda: datetime.now(UTC),
    )
