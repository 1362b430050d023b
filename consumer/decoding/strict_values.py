"""Keep only values of a known form: `--redact strict`. Everything else may hold a phone number, a token or a text.

A value that identifies an event is replaced by its hash, because rows are told apart by it. Other values become `***`,
and numbers of an unlikely size null.
"""

import re
from collections.abc import Callable
from typing import Any

from consumer.decoding.redaction import HIDDEN

_SID = r"[A-Z]{2}[0-9A-Fa-f]{32}"
_IDENTIFIER = re.compile(rf"(?:{_SID}|[0-9a-f]{{8}}-[0-9a-f]{{4}}-[0-9a-f]{{4}}-[0-9a-f]{{4}}-[0-9a-f]{{12}})")
# Segments of the paths of Twilio's API: https://www.twilio.com/docs/voice/api
_WORDS = (
    "Accounts|Calls|Conferences|Participants|Recordings|Queues|Members|Events|Streams|Siprec|Payments|Transcriptions"
)
_SEGMENT = re.compile(rf"(?:|2010-04-01|v[12]|(?:{_WORDS}|{_SID})(?:\.json|\.xml)?)")
_HOST = re.compile(r"(https?://(?:[a-z]{1,20}\.){0,3}twilio\.com)(/.*)?", re.DOTALL)
_QUERY = re.compile(r"[?#].*", re.DOTALL)
_NAME = re.compile(r"[A-Z][A-Za-z]{1,40}(?:\.[A-Z][A-Za-z]{1,40})?")
_PRODUCTS = "voice|messaging|eventstreams|error-logs|studio|taskrouter|verify|video|conversations|super-sim|trunking"
_PRODUCT = re.compile(rf"com\.twilio\.(?:{_PRODUCTS})(?=\.|\Z)")
METHODS = frozenset(("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"))
MEDIA = frozenset(
    ("application/json", "application/xml", "application/x-www-form-urlencoded", "text/xml", "text/html", "text/plain")
)
_STATUSES = "queued initiated ringing in-progress completed busy failed no-answer canceled init connecting connected"
STATUSES = frozenset(_STATUSES.split())
_VERBS = """
    Say Play Dial Gather Record Hangup Redirect Reject Pause Enqueue Leave Connect Start Stop Refer Pay Prompt Queue
    Conference Sms Message Siprec Stream
"""
VERBS = frozenset(_VERBS.split())
LARGEST = {"response_status": 999, "request_duration_ms": 86_400_000, "error_code": 999_999, "event_schema_version": 99}


def restrict(row: Any, hashed: Callable[[str], str]) -> None:
    """Replace each value of a row that has no known form. `hashed` replaces those that identify the event."""
    row.event_id = row.event_id if _IDENTIFIER.fullmatch(row.event_id) else hashed(row.event_id)
    row.event_source = _path(row.event_source, hashed)
    for name in ("resource_sid", "webhook_event_sid", "account_sid"):
        value = getattr(row, name)
        if value is not None and not _IDENTIFIER.fullmatch(value):
            setattr(row, name, HIDDEN)
    row.request_method = _known(row.request_method, METHODS)
    row.response_content_type = _known(row.response_content_type, MEDIA, lambda text: text.partition(";")[0].strip())
    row.resource_status = _known(row.resource_status, STATUSES)
    if row.request_url is not None:
        row.request_url = _url(row.request_url)
    if row.twiml_verbs is not None:
        row.twiml_verbs = [verb if verb in VERBS else HIDDEN for verb in row.twiml_verbs]
    for name, most in LARGEST.items():
        value = getattr(row, name)
        if value is not None and not 0 <= value <= most:
            setattr(row, name, None)
    row.partition_key = HIDDEN


def product_of(event_type: str) -> str:
    """Return the beginning of an event type that names Twilio's product, or "" if it does not begin like one."""
    found = _PRODUCT.match(event_type)
    return found[0] if found else ""


def parameter_name(name: str) -> str:
    """Return the name of a parameter if it is a word of Twilio's form, such as StatusCallback."""
    return name if _NAME.fullmatch(name) else HIDDEN


def _known(value: str | None, values: frozenset[str], form: Callable[[str], str] = str) -> str | None:
    if value is None:
        return None
    found = form(value)
    return found if found in values else HIDDEN


def _url(url: str) -> str:
    """Return a URL of Twilio's API with the words and SIDs of its path; of any other URL nothing but `***`."""
    found = _HOST.fullmatch(_QUERY.sub("", url))
    query = _QUERY.search(url)
    shown = f"{found[1]}{_path(found[2] or '', lambda _: HIDDEN)}" if found else HIDDEN
    return f"{shown}{'?' + HIDDEN if query else ''}"


def _path(path: str, replaced: Callable[[str], str]) -> str:
    return "/".join(segment if _SEGMENT.fullmatch(segment) else replaced(segment) for segment in path.split("/"))
