"""Declare every setting once, and load them: a flag wins over the environment, the TOML file and the default.

Only this module reads the environment. Each field is a flag (`cli.options`), an environment variable `CALL_CONSUMER_…`
and a key of the file that `--config` names. Its description is the help text in all three places.
"""

import os
import socket
import tomllib
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ByteSize, ConfigDict, Field, ValidationError

from consumer.errors import ConfigurationError
from consumer.setting_values import (
    ADDRESS,
    SINKS,
    Address,
    Endpoint,
    Name,
    OnRejected,
    Redact,
    Region,
    RoleArn,
    Seconds,
    Start,
    argument_in,
    closest,
    shown,
)

PREFIX = "CALL_CONSUMER_"
SIZE_MISTAKES = ("byte_size", "byte_size_unit")  # the validation library's types of errors


class Settings(BaseModel):
    """Hold every setting of one run."""

    model_config = ConfigDict(frozen=True)

    stream: str = Field(default="", description="Name or ARN of the stream; an ARN also sets the region.")
    sink: str = Field(default="stdout:", description=f"Where rows go: {SINKS}.")
    dead_letters: str = Field(default="jsonl:dead-letters", description=f"Where dead letters go: {SINKS}.")
    leases: str = Field(
        default="sqlite:call-consumer.db",
        description="Lease table: sqlite:FILE for one host, dynamodb:[TABLE] for a fleet [TABLE: the application's"
        " name], memory: for one process.",
    )
    application: Name = Field(
        default="",
        description="Name that checkpoints are stored under; a new name starts over [default: the stream's name].",
    )
    from_: Start = Field(
        default="trim-horizon",
        description="Where to start without a checkpoint: trim-horizon, latest, a time, a date such as 2026-11-25"
        " (midnight UTC), or an age such as 2h or 1w.",
    )
    until_caught_up: bool = Field(
        default=False, description="Stop when every shard is read up to the start of the run."
    )
    fail_on_dead_letters: bool = Field(default=False, description="Exit with code 1 if there were dead letters.")
    raw: bool = Field(default=False, description="Add the original event to each row, as `event`.")
    on_rejected: OnRejected = Field(
        default="",
        description="Policy for rejected events: REASON=dead-letter|halt|drop, such as not-json=halt,all=drop.",
    )
    halt_share: float | None = Field(
        default=None, gt=0, lt=1, description="Halt a shard when more than this share of its events is rejected."
    )
    halt_window: Seconds = Field(default=60.0, description="Seconds of events that --halt-share is about.")
    halt_minimum: int = Field(default=100, ge=1, description="Fewest events that --halt-share is about.")
    redact: Redact = Field(
        default="",
        description="Personal data to remove: strict, or parameters|addresses|body|url-query=mask|hash|drop.",
    )
    redact_key_file: str = Field(
        default="", description="File with the secret key of =hash, of 16 bytes or more; the same for all workers."
    )
    worker_id: Name = Field(
        default="", description="Unique name of this worker in the fleet [default: host name and a random suffix]."
    )
    lease_duration: Annotated[float, Field(ge=1, le=3600)] = Field(
        default=10.0, description="Other workers take over after this many seconds without a renewal."
    )
    shutdown_timeout: Seconds = Field(
        default=25.0, description="Maximum seconds to deliver and hand off leases after a signal."
    )
    batch_rows: int | None = Field(default=None, gt=0, description="Maximum rows per batch [default: the sink's own].")
    batch_bytes: ByteSize | None = Field(
        default=None, gt=0, description="Maximum bytes per batch, such as 4MiB [default: the sink's own]."
    )
    batch_age: Seconds | None = Field(
        default=None,
        description="Deliver a batch after this many seconds, even if it is not full [default: the sink's own].",
    )
    memory: ByteSize = Field(
        default=ByteSize(32 * 1024 * 1024), gt=0, description="Maximum bytes that all shards together buffer."
    )
    threads: int = Field(default=32, ge=1, le=1024, description="Threads that read shards.")
    max_leases: int = Field(default=1_000_000, ge=1, description="Maximum shards that this worker reads.")
    poll_interval: Annotated[float, Field(ge=0.2, le=60)] = Field(
        default=1.0,
        description="Seconds between reads at a shard's tip; AWS allows all readers of a shard together one per 0.2 s.",
    )
    region: Region = Field(default=None, description="AWS region [default: as boto3 finds it].")
    endpoint_url: Endpoint = Field(default=None, description="Endpoint of every AWS client, such as LocalStack's.")
    stream_role_arn: RoleArn = Field(
        default="", description="Role to assume to read the stream, for example in another account."
    )
    leases_role_arn: RoleArn = Field(default="", description="Role to assume for a lease table in DynamoDB.")
    http: Address = Field(
        default="",
        description="Serve /livez, /readyz and /metrics at ADDRESS:PORT, or at :PORT on all interfaces.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe level to log."
    )
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="Format of log lines; auto means JSON unless stderr is a terminal."
    )

    @property
    def name(self) -> str:
        """Return the application name: the setting, else the stream's name."""
        return self.application or self.stream.rpartition("/")[2]

    @property
    def aws_region(self) -> str | None:
        """Return the region in the stream's ARN, else the region setting."""
        parts = self.stream.split(":")
        return (parts[3] if parts[0] == "arn" and len(parts) > 3 else None) or self.region

    @property
    def http_address(self) -> tuple[str, int] | None:
        """Return host and port to listen on, or None. An empty host means all interfaces, port 0 any free port."""
        found = ADDRESS.fullmatch(self.http)
        return (found["six"] or found["host"], int(found["port"])) if found else None

    @property
    def worker(self) -> str:
        """Return the worker's id; random if it is not set."""
        return self.worker_id or f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"


def flag(field: str) -> str:
    """Return the flag of a setting; its key in the TOML file is the same without the leading dashes."""
    return "--" + field.rstrip("_").replace("_", "-")


def load(flags: Mapping[str, object], config: str | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Combine flags (None: not given), environment and file.

    Raises:
        ConfigurationError: names the wrong setting, its source, and a correct form.
    """
    values, origins = _gathered(flags, config, os.environ if environ is None else environ)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0])
        size = first["type"] in SIZE_MISTAKES
        problem = "say a number of bytes, such as 4MiB" if size else first["msg"].removeprefix("Value error, ")
        given_as = origins.get(field, flag(field))
        raise ConfigurationError(f"{given_as}{shown(first['input'])}: {problem[0].lower()}{problem[1:]}") from None


def sources(
    flags: Mapping[str, object], config: str | None = None, environ: Mapping[str, str] | None = None
) -> Mapping[str, str]:
    """Return the flag, variable, or file and key that sets each setting; defaults are left out."""
    return _gathered(flags, config, os.environ if environ is None else environ)[1]


def _gathered(
    flags: Mapping[str, object], config: str | None, variables: Mapping[str, str]
) -> tuple[dict[str, object], dict[str, str]]:
    """Return the values by setting, and the source of each."""
    config = config or variables.get(f"{PREFIX}CONFIG")
    layers = [
        (flag, {name: value for name, value in flags.items() if value is not None}),
        (_variable, _from_environment(variables)),
        (lambda field: f"{config}: {flag(field)[2:]}", _from_file(config) if config else {}),
    ]
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    if region := variables.get("AWS_REGION"):
        values["region"] = region  # containers get AWS_REGION; boto3 reads AWS_DEFAULT_REGION only
        origins["region"] = "AWS_REGION"
    for spell, given in reversed(layers):
        values.update(given)
        origins.update({field: spell(field) for field in given})
    return values, origins


def log_format(arguments: Sequence[str], environ: Mapping[str, str] | None = None) -> str:
    """Return the log format before the command line is parsed: from the flag, the environment or the file.

    Ignore mistakes; `load` reports them.
    """
    variables = os.environ if environ is None else environ
    given = [
        argument_in("--log-format", arguments),
        variables.get(f"{PREFIX}LOG_FORMAT"),
        _log_format_in(argument_in("--config", arguments) or variables.get(f"{PREFIX}CONFIG")),
    ]
    return next((form for form in given if form in ("json", "console")), "auto")


def _log_format_in(path: str | None) -> str | None:
    try:
        return str(_from_file(path).get("log_format")) if path else None
    except ConfigurationError:
        return None


def is_colour_wanted(environ: Mapping[str, str] | None = None) -> bool:
    """Return False if NO_COLOR is set (https://no-color.org) or the terminal has no colours."""
    variables = os.environ if environ is None else environ
    return not variables.get("NO_COLOR") and variables.get("TERM") != "dumb"


def _variable(field: str) -> str:
    return PREFIX + field.rstrip("_").upper()


def _from_environment(variables: Mapping[str, str]) -> dict[str, object]:
    known = {_variable(field): field for field in Settings.model_fields}
    given: dict[str, object] = {}
    for name, value in variables.items():
        if name in known and value:
            given[known[name]] = value
        elif name.startswith(PREFIX) and name not in known and name != f"{PREFIX}CONFIG":
            raise ConfigurationError(f"{name}: there is no such setting{closest(name, known)}")
    return given


def _from_file(path: str) -> dict[str, object]:
    try:
        content = tomllib.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise ConfigurationError(f"--config {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"--config {path}: not TOML: {error}") from None
    known = {flag(field)[2:]: field for field in Settings.model_fields}
    for key in content:
        plain = key.replace("_", "-")
        if plain not in known:
            raise ConfigurationError(f"--config {path}: there is no setting {key!r}{closest(key, known)}")
        if key != plain and plain in content:
            raise ConfigurationError(f"--config {path}: {plain!r} and {key!r} are the same setting: keep one of them")
    return {known[key.replace("_", "-")]: value for key, value in content.items()}
