"""The one declared model of the configuration: flag, else environment, else TOML file, else default.

The only place that reads the environment. Each field becomes a flag of the command line (`cli.options`), an environment
variable `CALL_CONSUMER_…` and a key of the file given by `--config`; its description is the help text everywhere.
"""

import difflib
import os
import socket
import tomllib
import uuid
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ByteSize, ConfigDict, Field, ValidationError

from consumer.errors import ConfigurationError
from consumer.setting_values import ADDRESS, Address, Endpoint, Region, RoleArn, Seconds, Start

LONGEST_SHOWN = 100  # characters of a wrong value
PREFIX = "CALL_CONSUMER_"


class Settings(BaseModel):
    """Everything that can be set."""

    model_config = ConfigDict(frozen=True)

    stream: str = Field(default="", description="The stream: its name, or its ARN, which also gives the region.")
    sink: str = Field(default="stdout:", description="Where rows go: stdout:, jsonl:DIR or sqlite:FILE.")
    dead_letters: str = Field(default="jsonl:dead-letters", description="Where dead letters go; the same kinds.")
    leases: str = Field(
        default="sqlite:call-consumer.db",
        description="The lease table: sqlite:FILE for one host, dynamodb:[TABLE] for many [TABLE: the application],"
        " memory: for one process.",
    )
    application: str = Field(default="", description="Whose checkpoints these are [default: the stream's name].")
    from_: Start = Field(
        default="trim-horizon",
        description="Where to start without a checkpoint: trim-horizon, latest, a time, or an age such as 2h.",
    )
    until_caught_up: bool = Field(
        default=False, description="Stop once all shards are read up to the start of the run."
    )
    fail_on_dead_letters: bool = Field(default=False, description="End with 1 if there were dead letters.")
    raw: bool = Field(default=False, description="Add the event as it came to each row, as `event`.")
    worker_id: str = Field(default="", description="This worker's name among its peers [default: host and random].")
    lease_duration: Annotated[float, Field(ge=1, le=3600)] = Field(
        default=10.0, description="Seconds of silence after which a worker's leases are taken."
    )
    shutdown_timeout: Seconds = Field(default=25.0, description="Seconds to deliver and hand over after a signal.")
    batch_rows: int | None = Field(default=None, gt=0, description="Rows a batch at most [default: the sink's own].")
    batch_bytes: ByteSize | None = Field(default=None, gt=0, description="Bytes a batch at most, such as 4MiB.")
    batch_age: Seconds | None = Field(default=None, description="Seconds after which a batch is delivered.")
    memory: ByteSize = Field(
        default=ByteSize(64 * 1024 * 1024), gt=0, description="Bytes all shards may buffer at once."
    )
    threads: int = Field(default=32, ge=1, le=1024, description="Threads that read shards.")
    max_leases: int = Field(default=1_000_000, ge=1, description="Shards that this worker reads at most.")
    poll_interval: Annotated[float, Field(ge=0.2, le=60)] = Field(
        default=1.0, description="Seconds between reads at a shard's tip; 0.2 is AWS's limit for all readers together."
    )
    region: Region = Field(default=None, description="AWS region [default: as boto3 finds it].")
    endpoint_url: Endpoint = Field(default=None, description="Endpoint of every AWS client, such as LocalStack's.")
    stream_role_arn: RoleArn = Field(
        default="", description="Role to assume for the stream, such as one of another account."
    )
    leases_role_arn: RoleArn = Field(default="", description="Role to assume for a lease table on DynamoDB.")
    http: Address = Field(
        default="",
        description="Where to answer /livez, /readyz and /metrics: ADDRESS:PORT, or :PORT for all interfaces.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="How much to log.")
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="auto: JSON unless stderr is a terminal."
    )

    @property
    def name(self) -> str:
        """The application whose leases these are."""
        return self.application or self.stream.rpartition("/")[2]

    @property
    def aws_region(self) -> str | None:
        """The stream's region where its ARN says it, else the one that was set."""
        parts = self.stream.split(":")
        return (parts[3] if parts[0] == "arn" and len(parts) > 3 else None) or self.region

    @property
    def http_address(self) -> tuple[str, int] | None:
        """Host and port to listen on, if any. No host: all interfaces. Port 0: any that is free."""
        found = ADDRESS.fullmatch(self.http)
        return (found["six"] or found["host"], int(found["port"])) if found else None

    @property
    def worker(self) -> str:
        """The worker's id."""
        return self.worker_id or f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"


def flag(field: str) -> str:
    """How a setting is written on the command line and in the TOML file (there without dashes in front)."""
    return "--" + field.rstrip("_").replace("_", "-")


def load(flags: Mapping[str, object], config: str | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Put flags (None: not given), environment and file together.

    Raises:
        ConfigurationError: one line that names the setting, where it came from, and what it should be.
    """
    values, said = _gathered(flags, config, os.environ if environ is None else environ)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0])
        problem = first["msg"].removeprefix("Value error, ")
        given_as = said.get(field, flag(field))
        raise ConfigurationError(f"{given_as}{_shown(first['input'])}: {problem[0].lower()}{problem[1:]}") from None


def sources(
    flags: Mapping[str, object], config: str | None = None, environ: Mapping[str, str] | None = None
) -> Mapping[str, str]:
    """Return where each setting that is not a default comes from: the flag, the variable, or the file and its key."""
    return _gathered(flags, config, os.environ if environ is None else environ)[1]


def _gathered(
    flags: Mapping[str, object], config: str | None, variables: Mapping[str, str]
) -> tuple[dict[str, object], dict[str, str]]:
    """The values that are given, and how each was."""
    config = config or variables.get(f"{PREFIX}CONFIG")
    origins = [
        (flag, {name: value for name, value in flags.items() if value is not None}),
        (_variable, _from_environment(variables)),
        (lambda field: f"{config}: {flag(field)[2:]}", _from_file(config) if config else {}),
    ]
    values: dict[str, object] = {}
    said: dict[str, str] = {}
    if region := variables.get("AWS_REGION"):
        values["region"] = region  # what containers are given; boto3 itself looks for AWS_DEFAULT_REGION only
        said["region"] = "AWS_REGION"
    for spell, given in reversed(origins):
        values.update(given)
        said.update({field: spell(field) for field in given})
    return values, said


def _shown(value: object) -> str:
    """The value that is wrong, unless it may hold a password."""
    shown = isinstance(value, str) and "@" not in value and len(value) <= LONGEST_SHOWN
    return f" {value!r}" if shown else ""


def log_format(arguments: Sequence[str], environ: Mapping[str, str] | None = None) -> str:
    """The format that a command line asks for, before it is taken apart: flag, else environment, else file.

    Finds what it can; a mistake anywhere in them is for `load` to tell.
    """
    variables = os.environ if environ is None else environ
    given = [
        _argument("--log-format", arguments),
        variables.get(f"{PREFIX}LOG_FORMAT"),
        _log_format_in(_argument("--config", arguments) or variables.get(f"{PREFIX}CONFIG")),
    ]
    return next((form for form in given if form in ("json", "console")), "auto")


def _argument(name: str, arguments: Sequence[str]) -> str | None:
    """The last value of a flag, `--flag VALUE` or `--flag=VALUE`."""
    found = None
    for word, following in pairwise([*arguments, ""]):
        if word == name:
            found = following
        elif word.startswith(f"{name}="):
            found = word.partition("=")[2]
    return found


def _log_format_in(path: str | None) -> str | None:
    try:
        return str(_from_file(path).get("log_format")) if path else None
    except ConfigurationError:
        return None


def is_colour_wanted(environ: Mapping[str, str] | None = None) -> bool:
    """False when the operator wants none: https://no-color.org, or a terminal that has none."""
    variables = os.environ if environ is None else environ
    return not variables.get("NO_COLOR") and variables.get("TERM") != "dumb"


def closest(word: str, words: Iterable[str]) -> str:
    """A hint at the word that was probably meant, or nothing."""
    near = difflib.get_close_matches(word, list(words), n=1)
    return f"; did you mean {near[0]}?" if near else ""


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
