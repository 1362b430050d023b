"""What the values of settings look like: each function takes one as typed, or says what it should be."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

ADDRESS = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.%]+)\]|(?P<host>[^:\[\]]*)):(?P<port>[0-9]{1,5})")
AGE = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
# IAM, and the regions' names as botocore lets them into a host's name.
ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]{1,576}")
REGION = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def start(value: object) -> object:
    """`trim-horizon`, `latest`, an RFC 3339 time, or an age such as `2h`."""
    if value in ("trim-horizon", "latest"):
        return value
    now = datetime.now(UTC)
    try:
        age = AGE.fullmatch(str(value))
        moment = now - timedelta(seconds=float(age[1]) * UNITS[age[2]]) if age else datetime.fromisoformat(str(value))
    except (ValueError, OverflowError):
        raise ValueError("say trim-horizon, latest, an RFC 3339 time, or an age such as 2h") from None
    if moment.tzinfo is None:
        raise ValueError("a time needs its offset, such as Z or +02:00")
    if moment > now:
        raise ValueError("this time is still to come; say latest to start now")
    return moment


def address(value: str) -> str:
    """`127.0.0.1:8080`, `[::1]:8080`, or `:8080` for all interfaces."""
    if value and ((found := ADDRESS.fullmatch(value)) is None or int(found["port"]) > 65_535):
        raise ValueError("say ADDRESS:PORT, such as 127.0.0.1:8080, or :8080 for all interfaces")
    return value


def role(value: str) -> str:
    """`arn:aws:iam::ACCOUNT:role/NAME`, or nothing."""
    if value and ROLE.fullmatch(value) is None:
        raise ValueError("say arn:aws:iam::ACCOUNT:role/NAME")
    return value


def region(value: str | None) -> str | None:
    """What may stand in a host's name."""
    if value is not None and REGION.fullmatch(value) is None:
        raise ValueError("say a region's name, such as eu-west-1")
    return value


def endpoint(value: str | None) -> str | None:
    """A URL of one host. A password in it would show in every message that names it."""
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


Start = Annotated[Literal["trim-horizon", "latest"] | datetime, BeforeValidator(start)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Address = Annotated[str, AfterValidator(address)]
RoleArn = Annotated[str, AfterValidator(role)]
Region = Annotated[str | None, AfterValidator(region)]
Endpoint = Annotated[str | None, AfterValidator(endpoint)]
