"""Find out how to connect to PostgreSQL: libpq's parameters from the URL, and tokens of RDS IAM."""

from collections.abc import Callable, Mapping
from typing import Any

import psycopg
from botocore.config import Config
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict

from consumer.aws.access import Accesses
from consumer.errors import ConfigurationError
from consumer.setting_values import closest
from consumer.sinks.postgresql import Options
from consumer.urls import Url

ENCODE = "percent-encode special characters of user and password (%40 for @, %2F for /, %3A for :)"
Parameters = dict[str, Any]


def parameters_of(url: Url, options: Options, timeout: float) -> Parameters:
    """Return libpq's parameters: the URL's, and limits after which a dead server is noticed. `timeout` is in seconds.

    Raises:
        ConfigurationError: the URL or an option is not valid.
    """
    others = {name: str(value) for name, value in (options.model_extra or {}).items()}
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    if unknown := sorted(others.keys() - known):
        near = closest(unknown[0], {*known, "schema", *type(options).model_fields} - {"schema_"})
        raise ConfigurationError(f"{url.label} postgresql: unknown option {unknown[0]!r}{near}")
    address = url.path if url.path.startswith("//") else f"///{url.path}"
    try:
        given = conninfo_to_dict(f"postgresql:{address}", **others)
    except psycopg.Error:  # its message quotes the password
        raise ConfigurationError(f"{url.label} postgresql: not a URL of PostgreSQL: {ENCODE}") from None
    _check(url.label, given)
    return {**_defaults(timeout), **given}


def _check(label: str, given: Mapping[str, Any]) -> None:
    """Reject a host or port that is a part of a password, because libpq's messages would show it."""
    ports = str(given.get("port") or "").split(",")
    if "@" in str(given.get("host") or "") or not all(port.isdigit() or not port for port in ports):
        raise ConfigurationError(f"{label} postgresql: wrong host or port: {ENCODE}")


def _defaults(timeout: float) -> Parameters:
    """Return what applies unless the URL says otherwise. None of it is a start-up option that PgBouncer refuses."""
    seconds = max(1, int(timeout / 4))
    return {
        "connect_timeout": max(2, int(timeout / 2)),
        "keepalives": 1,
        "keepalives_idle": seconds,
        "keepalives_interval": seconds,
        "keepalives_count": 3,
        "tcp_user_timeout": round(timeout * 1000),
        "client_encoding": "UTF8",
        "fallback_application_name": "call-consumer",
    }


def shown(label: str, parameters: Mapping[str, Any]) -> str:
    """Return the server's address for messages, without user and password."""
    where = parameters.get("host") or parameters.get("hostaddr") or parameters.get("service") or ""
    port = f":{parameters['port']}" if parameters.get("port") else ""
    return f"{label} postgresql://{where}{port}/{parameters.get('dbname') or ''}"


def password_source(
    label: str, options: Options, parameters: Parameters, accesses: Accesses
) -> Callable[[], Parameters]:
    """Return a function that is called before each connection. It returns the parameters that may change.

    libpq itself reads the passfile and the service file again each time.

    Raises:
        ConfigurationError: `iam` lacks the host, the user or the region.
    """
    if not options.iam:
        return dict
    if missing := [name for name in ("host", "user") if not parameters.get(name)]:
        raise ConfigurationError(f"{label} postgresql: ?iam=true needs the {missing[0]}: write it into the URL")
    region = options.region or _region_of(str(parameters["host"])) or accesses.region
    client = accesses.of().client("rds", region, None, Config())
    target = {"DBHostname": parameters["host"], "Port": int(parameters.get("port") or 5432)}
    parameters.setdefault("sslmode", "require")  # RDS takes tokens over TLS only
    return lambda: {"password": client.generate_db_auth_token(**target, DBUsername=parameters["user"])}


def _region_of(host: str) -> str:
    """Return the region in the name of an RDS host, NAME.ID.REGION.rds.amazonaws.com, or ""."""
    name, found, _ = host.partition(".rds.amazonaws.com")
    return name.rpartition(".")[2] if found else ""
