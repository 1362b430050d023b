"""Check the source of the credentials, and whether they expire soon without renewal."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import botocore.session
from botocore.exceptions import BotoCoreError

from consumer.aws.credentials import SharedCredentials
from consumer.aws.providers import SOURCES
from consumer.doctor.checks import Finding, failed, ok, warning

SOON = timedelta(hours=1)
# botocore reloads these files, but an operator must write newer credentials into them.
FILES = (SOURCES["shared-credentials-file"], SOURCES["config-file"])
# Keys under which tools store the expiry of temporary credentials in a profile.
EXPIRY_KEYS = (
    "aws_expiration",
    "aws_session_expiration",
    "aws_credential_expiration",
    "x_security_token_expires",
    "expiration",
)
RENEWABLE = "use a role, SSO or a credential_process, which renew themselves, or replace the credentials"


def check_credentials(credentials: SharedCredentials, now: datetime) -> Iterator[Finding]:
    """Load the credentials as a worker does, and check their expiry. `now` is in UTC."""
    credentials.load()
    if credentials.trouble is not None:
        yield failed("credentials", str(credentials.trouble))
        return
    fixed = credentials.fixed or credentials.asking in FILES
    left = credentials.seconds_left
    end = now + timedelta(seconds=left) if left != float("inf") else None
    if credentials.asking in FILES:
        end = _expiry_in_profile(botocore.session.Session())
    yield _finding(f"from {credentials.asking}", end, fixed, now, temporary=credentials.token is not None)


def _finding(source: str, end: datetime | None, fixed: bool, now: datetime, temporary: bool) -> Finding:
    if end is None:
        if temporary and fixed:
            return warning("credentials", f"{source}: temporary, with an unknown expiry, and nothing renews them")
        return ok("credentials", source)
    text = f"{source}, valid until {end:%F %T} UTC"
    if not fixed:
        return ok("credentials", f"{text}, renewed before that")
    if end <= now:
        return failed("credentials", f"{source}, expired at {end:%F %T} UTC: {RENEWABLE}")
    if end - now < SOON:
        minutes = (end - now).total_seconds() / 60
        return failed("credentials", f"{text}, in {minutes:.0f} min, and nothing renews them: {RENEWABLE}")
    return ok("credentials", f"{text}; nothing renews them")


def _expiry_in_profile(session: Any) -> datetime | None:
    try:
        profiles: Mapping[str, Mapping[str, str]] = session.full_config.get("profiles", {})
    except (BotoCoreError, OSError, ValueError):
        return None  # `load` reports what is wrong with the file
    profile = profiles.get(session.profile or "default", {})
    return min((end for name in EXPIRY_KEYS if (end := instant(profile.get(name))) is not None), default=None)


def instant(text: object) -> datetime | None:
    """Parse an ISO 8601 time. Without a zone it is in UTC. Return None for anything else."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found.astimezone(UTC) if found.tzinfo is not None else found.replace(tzinfo=UTC)
