"""Where the credentials come from, and whether they end soon without anything that renews them."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import botocore.session
from botocore.exceptions import BotoCoreError

from consumer.aws.credentials import SharedCredentials
from consumer.aws.providers import PARTIES
from consumer.doctor.questions import Finding, failed, ok, warning

SOON = timedelta(hours=1)
# botocore reads these files again, but somebody has to write newer credentials into them.
FILES = (PARTIES["shared-credentials-file"], PARTIES["config-file"])
# How the tools that write temporary credentials into a profile name their end.
ENDS = (
    "aws_expiration",
    "aws_session_expiration",
    "aws_credential_expiration",
    "x_security_token_expires",
    "expiration",
)
RENEWABLE = "use a role, SSO or a credential_process, which are renewed by themselves, or put newer ones there"


def check_credentials(credentials: SharedCredentials, now: datetime) -> Iterator[Finding]:
    """Load credentials as a worker would, and judge until when they are good."""
    credentials.load()
    if credentials.trouble is not None:
        yield failed("credentials", str(credentials.trouble))
        return
    unrenewed = credentials.fixed or credentials.asking in FILES
    left = credentials.seconds_left
    end = now + timedelta(seconds=left) if left != float("inf") else None
    if credentials.asking in FILES:
        end = _end_in_profile(botocore.session.Session())
    yield _judged(f"from {credentials.asking}", end, unrenewed, now, temporary=credentials.token is not None)


def _judged(source: str, end: datetime | None, unrenewed: bool, now: datetime, temporary: bool) -> Finding:
    if end is None:
        if temporary and unrenewed:
            return warning("credentials", f"{source}: temporary, it is not known until when, and nothing renews them")
        return ok("credentials", source)
    text = f"{source}, good until {end:%F %T} UTC"
    if not unrenewed:
        return ok("credentials", f"{text} and renewed before")
    if end <= now:
        return failed("credentials", f"{source}, expired at {end:%F %T} UTC: {RENEWABLE}")
    if end - now < SOON:
        minutes = (end - now).total_seconds() / 60
        return failed("credentials", f"{text}, in {minutes:.0f} min, and nothing renews them: {RENEWABLE}")
    return ok("credentials", f"{text}; nothing renews them")


def _end_in_profile(session: Any) -> datetime | None:
    try:
        profiles: Mapping[str, Mapping[str, str]] = session.full_config.get("profiles", {})
    except (BotoCoreError, OSError, ValueError):
        return None  # the credentials' own trouble says why
    profile = profiles.get(session.profile or "default", {})
    return min((end for name in ENDS if (end := instant(profile.get(name))) is not None), default=None)


def instant(text: object) -> datetime | None:
    """Return an ISO 8601 time, UTC where it does not say; None for anything else."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found.astimezone(UTC) if found.tzinfo is not None else found.replace(tzinfo=UTC)
