"""Show the settings in force and their sources, with secrets masked."""

import platform
import re
from collections.abc import Iterator, Mapping
from typing import Any

import botocore.session
from botocore.exceptions import BotoCoreError

from consumer.pipeline.dead_letters import WORKER_VERSION
from consumer.records import BatchLimits
from consumer.setting_values import written
from consumer.settings import PREFIX, Settings, flag

_SECRET = re.compile(
    r"(//[^/?#:@]*:)[^?#]*@|(//)[^/?#:@]+@|((?:passw|pwd|secret|token|key|credential|signature|auth)[^=&]*=)[^&]*",
    re.IGNORECASE,
)


# `worker.started` always shows these settings.
_ALWAYS_SHOWN = ("stream", "application", "sink", "dead_letters", "leases")


def lines(settings: Settings, sources: Mapping[str, str], limits: BatchLimits | None = None) -> Iterator[str]:
    """Yield one line per setting with name, value and source. `limits` are the sink's own batch limits."""
    found = _derived(settings, limits) | dict(_botocore(settings, sources))
    for name, value in settings.model_dump().items():
        given = (value, _source(sources[name]) if name in sources else "default")
        shown, source = given if value not in (None, "") else found.get(name, ("", "default"))
        yield f"{flag(name)[2:]:22} {_masked(written(shown)):40} ({source})"


def startup_fields(settings: Settings) -> dict[str, object]:
    """Return the fields of `worker.started`. They include all settings that differ from their default."""
    chosen = {
        flag(name)[2:]: _masked(str(value))
        for name, value in settings.model_dump().items()
        if value != Settings.model_fields[name].default and name not in _ALWAYS_SHOWN
    }
    return {
        "application": settings.name,
        "version": WORKER_VERSION,
        "python": platform.python_version(),
        "sink": _masked(settings.sink),
        "dead_letters": _masked(settings.dead_letters),
        "leases": _masked(settings.leases),
        "settings": chosen,
    }


def _source(spelled: str) -> str:
    if spelled.startswith("--"):
        return "flag" if spelled != "--stream" else "argument"
    if spelled.startswith((PREFIX, "AWS_")):
        return f"environment {spelled}"
    return f"file {spelled}"


def _derived(settings: Settings, limits: BatchLimits | None) -> dict[str, tuple[Any, str]]:
    """Return the values and sources of defaults that depend on other settings."""
    found: dict[str, tuple[Any, str]] = {
        "application": (settings.name, "default: the stream's name"),
        "worker_id": ("", "default: host and random"),
    }
    if limits is not None:
        own = {"batch_rows": limits.rows, "batch_bytes": limits.bytes, "batch_age": limits.age}
        found |= {name: (value, "default: the sink's own") for name, value in own.items()}
    return found


def _botocore(settings: Settings, sources: Mapping[str, str]) -> Iterator[tuple[str, tuple[Any, str]]]:
    """Yield the region and endpoint that botocore chooses when no setting does."""
    try:
        session = botocore.session.Session()
        if settings.aws_region and "region" not in sources:
            yield "region", (settings.aws_region, "the stream's ARN")
        else:
            yield "region", (session.get_config_variable("region") or "", "botocore")
        region = settings.aws_region or session.get_config_variable("region")
        # With given keys, the client asks no source of credentials, which may hang.
        client = session.create_client(
            "kinesis", region_name=region, aws_access_key_id="unused", aws_secret_access_key="unused"
        )
        yield "endpoint_url", (client.meta.endpoint_url, "botocore")
    except (BotoCoreError, ValueError):
        return  # connecting reports the problem


def _masked(text: str) -> str:
    return _SECRET.sub(lambda found: f"{found[1] or found[2]}***@" if found[3] is None else f"{found[3]}***", text)
