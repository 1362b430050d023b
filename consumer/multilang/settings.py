"""List the settings that apply under Amazon's MultiLangDaemon, which keeps leases and checkpoints itself."""

# The pipeline and the log use these, or `--properties` writes them down for the daemon.
NAMES = (
    "stream",
    "sink",
    "dead_letters",
    "application",
    "from_",
    "raw",
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
