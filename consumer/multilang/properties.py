"""The daemon's configuration, made from our settings: https://docs.oracle.com/javase/8/docs/api/java/util/Properties.html

The daemon ignores a key that it does not know without a word, so every key here is checked against its classes in the
tests. It logs all of them: secrets belong into the file that --config names, or into the environment.
"""

import json
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from consumer.errors import ConfigurationError
from consumer.settings import Settings

# What the daemon's own steps of a shutdown take beside ours, seconds.
SHUTDOWN_MARGIN = 5.0


class Property(NamedTuple):
    """One line, and why it says what it says."""

    key: str
    value: str | None  # None: leave it out
    comment: str = ""


def properties(settings: Settings, command: Sequence[str]) -> str:
    """The file's text; the daemon runs `command` once for each shard.

    Raises:
        ConfigurationError: the command cannot be written, as the daemon takes it apart at spaces.
    """
    for part in command:
        if not part or " " in part:
            raise ConfigurationError(
                f"{part!r}: the daemon splits its command at spaces and knows no quotes: put the setting into a file"
                " and name it with --config, or into the environment of the daemon"
            )
    lines = ["# For Amazon's MultiLangDaemon, written by `call-consumer kcl-daemon --properties`."]
    for key, value, comment in (*_what(settings, command), *_how(settings)):
        if value is not None:
            lines += ["", *([f"# {comment}"] if comment else []), f"{key} = {_escaped(value)}"]
    return "\n".join(lines) + "\n"


def _what(settings: Settings, command: Sequence[str]) -> list[Property]:
    arn = settings.stream.startswith("arn:")
    return [
        Property(
            "executableName",
            " ".join(command),
            "Started once a shard, in the directory and with the environment of the daemon.",
        ),
        Property("processingLanguage", f"python/{sys.version_info.major}.{sys.version_info.minor}"),
        Property("streamArn" if arn else "streamName", settings.stream),
        Property("applicationName", settings.name, "Also the name of the lease table in DynamoDB."),
        Property("workerId", settings.worker_id or None, "Must differ for each daemon; a random one when left out."),
        _region(settings),
        Property("AwsCredentialsProvider", "DefaultCredentialsProvider", "The daemon requires one to be named."),
        Property("kinesisEndpoint", settings.endpoint_url, "For emulators."),
        Property("dynamoDBEndpoint", settings.endpoint_url),
        *_start(settings),
    ]


def _region(settings: Settings) -> Property:
    if settings.aws_region:
        return Property("regionName", settings.aws_region)
    return Property("# regionName", "", "The daemon finds it in AWS_REGION or a profile, not in AWS_DEFAULT_REGION.")


def _start(settings: Settings) -> list[Property]:
    comment = "Where to start without a checkpoint."
    if isinstance(settings.from_, datetime):
        seconds = str(int(settings.from_.timestamp()))
        return [Property("initialPositionInStreamExtended", seconds, f"{comment} In epoch seconds.")]
    return [Property("initialPositionInStream", settings.from_.upper().replace("-", "_"), comment)]


def _how(settings: Settings) -> list[Property]:
    most = settings.max_leases
    is_default = most == Settings.model_fields["max_leases"].default
    return [
        Property("retrievalMode", "POLLING", "The daemon's default is enhanced fan-out, which costs extra."),
        Property(
            "idleTimeBetweenReadsInMillis",
            _millis(settings.poll_interval),
            "Five reads a second and shard is AWS's limit for all readers together.",
        ),
        Property(
            "callProcessRecordsEvenForEmptyRecordList",
            "true",
            "Lets a batch that has grown old be delivered although no further record comes.",
        ),
        Property("failoverTimeMillis", _millis(settings.lease_duration), "Silence after which leases are taken."),
        Property("maxLeasesForWorker", None if is_default else str(most), "One process for each of them."),
        Property(
            "shutdownGraceMillis",
            _millis(settings.shutdown_timeout + SHUTDOWN_MARGIN),
            "To deliver and checkpoint after SIGTERM; the service manager has to wait longer than this.",
        ),
        Property("metricsLevel", "NONE", "SUMMARY or DETAILED send metrics to CloudWatch, which bills them."),
        Property(
            "# timeoutInSeconds",
            "",
            "Stays unset: with it, a sink that is down for longer stops all shards of the daemon.",
        ),
    ]


def _millis(seconds: float) -> str:
    return str(round(seconds * 1000))


def _escaped(value: str) -> str:
    """Backslashes doubled and everything beyond ASCII as \\uXXXX, as Java reads these files."""
    return json.dumps(value)[1:-1].replace('\\"', '"')
