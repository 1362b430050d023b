"""Write the daemon's configuration from our settings.

The daemon silently ignores unknown keys, so a test checks every key here against the daemon's classes. It also logs all
values, so secrets belong in the file that --config names, or in the environment. The file format is
https://docs.oracle.com/javase/8/docs/api/java/util/Properties.html
"""

import json
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from consumer.errors import ConfigurationError
from consumer.settings import Settings

# Seconds that the daemon's own shutdown steps need in addition to ours.
SHUTDOWN_MARGIN = 5.0


class Property(NamedTuple):
    """One line of the configuration, and a comment that gives the reason for its value."""

    key: str
    value: str | None  # None: omit the line
    comment: str = ""


def properties(settings: Settings, command: Sequence[str]) -> str:
    """Return the text of the file. The daemon starts `command` once per shard.

    Raises:
        ConfigurationError: a part of the command is empty or contains a space, at which the daemon would split it.
    """
    for part in command:
        if not part or " " in part:
            raise ConfigurationError(
                f"{part!r}: the daemon splits its command at spaces and supports no quotes. Put the setting into a file"
                " that --config names, or into the environment of the daemon"
            )
    lines = ["# For Amazon's MultiLangDaemon, written by `call-consumer kcl-daemon --properties`."]
    for key, value, comment in (*_identity(settings, command), *_tuning(settings)):
        if value is not None:
            lines += ["", *([f"# {comment}"] if comment else []), f"{key} = {_escaped(value)}"]
    return "\n".join(lines) + "\n"


def _identity(settings: Settings, command: Sequence[str]) -> list[Property]:
    arn = settings.stream.startswith("arn:")
    return [
        Property(
            "executableName",
            " ".join(command),
            "The daemon starts this once per shard, in its own directory and with its own environment.",
        ),
        Property("processingLanguage", f"python/{sys.version_info.major}.{sys.version_info.minor}"),
        Property("streamArn" if arn else "streamName", settings.stream),
        Property("applicationName", settings.name, "Also the name of the lease table in DynamoDB."),
        Property(
            "workerId",
            settings.worker_id or None,
            "Must differ between daemons. Random if missing.",
        ),
        _region(settings),
        Property("AwsCredentialsProvider", "DefaultCredentialsProvider", "The daemon has no default."),
        Property("kinesisEndpoint", settings.endpoint_url, "For emulators only."),
        Property("dynamoDBEndpoint", settings.endpoint_url),
        *_initial_position(settings),
    ]


def _region(settings: Settings) -> Property:
    if settings.aws_region:
        return Property("regionName", settings.aws_region)
    return Property("# regionName", "", "The daemon reads AWS_REGION or a profile, but not AWS_DEFAULT_REGION.")


def _initial_position(settings: Settings) -> list[Property]:
    comment = "Where to start a shard that has no checkpoint."
    if isinstance(settings.from_, datetime):
        seconds = str(int(settings.from_.timestamp()))
        return [Property("initialPositionInStreamExtended", seconds, f"{comment} In seconds since the epoch.")]
    return [Property("initialPositionInStream", settings.from_.upper().replace("-", "_"), comment)]


def _tuning(settings: Settings) -> list[Property]:
    max_leases = settings.max_leases
    is_default = max_leases == Settings.model_fields["max_leases"].default
    return [
        Property("retrievalMode", "POLLING", "The daemon's default is enhanced fan-out, which AWS bills."),
        Property(
            "idleTimeBetweenReadsInMillis",
            _millis(settings.poll_interval),
            "AWS allows five reads per second and shard, for all readers together.",
        ),
        Property(
            "callProcessRecordsEvenForEmptyRecordList",
            "true",
            "Delivers a batch that has reached --batch-age although no further record arrives.",
        ),
        Property(
            "failoverTimeMillis",
            _millis(settings.lease_duration),
            "Other daemons take over after this silence.",
        ),
        Property("maxLeasesForWorker", None if is_default else str(max_leases), "One process per lease."),
        Property(
            "shutdownGraceMillis",
            _millis(settings.shutdown_timeout + SHUTDOWN_MARGIN),
            "Time to deliver and checkpoint after SIGTERM. The service manager must wait longer.",
        ),
        Property("metricsLevel", "NONE", "SUMMARY and DETAILED send metrics to CloudWatch, which AWS bills."),
        Property(
            "# timeoutInSeconds",
            "",
            "Leave this unset: a sink that is unavailable for longer would stop all shards of the daemon.",
        ),
    ]


def _millis(seconds: float) -> str:
    return str(round(seconds * 1000))


def _escaped(value: str) -> str:
    """Escape backslashes, and write characters outside ASCII as \\uXXXX, which Java reads."""
    return json.dumps(value)[1:-1].replace('\\"', '"')
