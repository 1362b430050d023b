"""List the settings that apply under Amazon's MultiLangDaemon, which keeps leases and checkpoints itself."""

from collections.abc import Collection

from consumer.errors import ConfigurationError
from consumer.rejection_policy import Policy, policies_of
from consumer.settings import Settings
from consumer.urls import parse

# The pipeline and the log use these settings, or `--properties` writes them into the daemon's configuration.
NAMES = (
    "stream",
    "sink",
    "dead_letters",
    "application",
    "from_",
    "raw",
    "on_rejected",
    "redact",
    "redact_key_file",
    "worker_id",
    "lease_duration",
    "shutdown_timeout",
    "batch_rows",
    "batch_bytes",
    "batch_age",
    "max_leases",
    "poll_interval",
    "region",
    "endpoint_url",
    "log_level",
    "log_format",
)


def check_settings(settings: Settings, sinks: Collection[str]) -> None:
    """Check what the daemon cannot run without. `sinks` are the known schemes.

    Raises:
        ConfigurationError: the stream is missing, or a sink would write to the daemon's protocol.
    """
    if not settings.stream:
        raise ConfigurationError("name the stream: call-consumer kcl-daemon STREAM, or CALL_CONSUMER_STREAM")
    if Policy.HALT in policies_of(settings.on_rejected).values():
        raise ConfigurationError("--on-rejected: the daemon has no way to halt a shard; say dead-letter or drop")
    for label, text in (("--sink", settings.sink), ("--dead-letters", settings.dead_letters)):
        if parse(label, text, sinks).scheme == "stdout":
            raise ConfigurationError(
                f"{label} stdout: standard output carries the daemon's protocol; choose another sink"
            )
