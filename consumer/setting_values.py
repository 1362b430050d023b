"""Validate the values of settings. Each function returns the value, or raises ValueError with a correct form."""

import difflib
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, ByteSize, Field

from consumer.redaction_choice import choice_of
from consumer.rejection_policy import policies_of

# The URLs of sinks, for help texts.
SINKS = (
    "stdout:, jsonl:DIR, sqlite:FILE, postgresql://HOST/DATABASE, file:DIR, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or"
    " az://CONTAINER/PREFIX"
)
ADDRESS = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.%]+)\]|(?P<host>[^:\[\]]*)):(?P<port>[0-9]{1,5})")
AGE = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
# Region names as botocore accepts them in a host name.
ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]{1,576}")
REGION = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")
LONGEST_NAME = 255  # characters, as in a DynamoDB table's name
DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
LONGEST_SHOWN = 100  # characters; a longer wrong value is left out of the message
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}  # seconds


def start(value: object) -> object:
    """Accept `trim-horizon`, `latest`, an RFC 3339 time, a date (midnight UTC), or an age such as `2h` or `1w`."""
    if value in ("trim-horizon", "latest"):
        return value
    now = datetime.now(UTC)
    try:
        moment = _moment(str(value), now)
    except (ValueError, OverflowError):
        raise ValueError(
            "say trim-horizon, latest, an RFC 3339 time, a date such as 2026-11-25, or an age such as 2h or 1w"
        ) from None
    if moment.tzinfo is None:
        raise ValueError("a time needs its offset, such as Z or +02:00")
    if moment > now:
        raise ValueError("this time is in the future; say latest to start now")
    return moment


def _moment(text: str, now: datetime) -> datetime:
    if age := AGE.fullmatch(text):
        return now - timedelta(seconds=float(age[1]) * UNITS[age[2]])
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if DATE.fullmatch(text) else moment


def address(value: str) -> str:
    """Accept `127.0.0.1:8080`, `[::1]:8080`, `:8080` for all interfaces, or ""."""
    if value and ((found := ADDRESS.fullmatch(value)) is None or int(found["port"]) > 65_535):
        raise ValueError("say ADDRESS:PORT, such as 127.0.0.1:8080, or :8080 for all interfaces")
    return value


def name(value: str) -> str:
    """Accept text that a log line and a lease row can hold, or ""."""
    if value and (not value.isprintable() or value != value.strip() or len(value) > LONGEST_NAME):
        raise ValueError(f"say at most {LONGEST_NAME} printable characters, without blanks at either end")
    return value


def role(value: str) -> str:
    """Accept `arn:aws:iam::ACCOUNT:role/NAME`, or ""."""
    if value and ROLE.fullmatch(value) is None:
        raise ValueError("say arn:aws:iam::ACCOUNT:role/NAME")
    return value


def region(value: str | None) -> str | None:
    """Accept a name that is valid in a host name, or None."""
    if value is not None and REGION.fullmatch(value) is None:
        raise ValueError("say a region's name, such as eu-west-1")
    return value


def endpoint(value: str | None) -> str | None:
    """Accept an http or https URL without a password, because messages show the endpoint."""
    try:
        parts = urlsplit(value or "http://none")
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise ValueError("say http://HOST:PORT or https://HOST")
    if "@" in (value or ""):
        raise ValueError("an endpoint takes no user and no password")
    return value


def account(value: str) -> str:
    """Accept the twelve digits of an AWS account, or ""."""
    if value and re.fullmatch(r"[0-9]{12}", value) is None:
        raise ValueError("say the twelve digits of an AWS account")
    return value


def tags(value: object) -> object:
    """Accept tags such as `team:calls,stage:live`."""
    if not isinstance(value, str):
        return value
    pairs = [tag.partition(":") for tag in value.split(",")]
    if not all(name and colon for name, colon, _ in pairs):
        raise ValueError("say tags=name:value,name:value")
    return {name: value for name, _, value in pairs}


def on_rejected(value: str) -> str:
    """Accept what `rejection_policy.policies_of` reads."""
    policies_of(value)
    return value


def redact(value: str) -> str:
    """Accept what `redaction_choice.choice_of` reads."""
    choice_of(value)
    return value


def written(value: object) -> str:
    """Return a value as people write it: 64MiB, 10, stdout:."""
    if isinstance(value, ByteSize):
        return value.human_readable().replace(".0", "")
    return f"{value:g}" if isinstance(value, float) else str(value)


def closest(word: str, words: Iterable[str]) -> str:
    """Return a hint at the closest known word, or ""."""
    near = difflib.get_close_matches(word, list(words), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def shown(value: object) -> str:
    """Return the wrong value for a message, or "" if it may hold a password."""
    safe = isinstance(value, str) and "@" not in value and len(value) <= LONGEST_SHOWN
    return f" {value!r}" if safe else ""


def argument_in(name: str, arguments: Sequence[str]) -> str | None:
    """Return the last value of a flag, given as `--flag VALUE` or `--flag=VALUE`."""
    found = None
    for word, following in pairwise([*arguments, ""]):
        if word == name:
            found = following
        elif word.startswith(f"{name}="):
            found = word.partition("=")[2]
    return found


Start = Annotated[Literal["trim-horizon", "latest"] | datetime, BeforeValidator(start)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Name = Annotated[str, AfterValidator(name)]
OnRejected = Annotated[str, AfterValidator(on_rejected)]
Redact = Annotated[str, AfterValidator(redact)]
Address = Annotated[str, AfterValidator(address)]
RoleArn = Annotated[str, AfterValidator(role)]
Region = Annotated[str | None, AfterValidator(region)]
Endpoint = Annotated[str | None, AfterValidator(endpoint)]
AccountId = Annotated[str, AfterValidator(account)]
Tags = Annotated[dict[str, str], BeforeValidator(tags)]
