"""Make Call API Request events like live ones: half with JSON responses of Twilio, half with a customer's TwiML."""

import base64
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from typing import Any, NamedTuple

STREAM = "bench"
ACCOUNT = "AC5ef8732a3c49700934481addd5ce1659"
SIZE = 1180  # bytes of an event, as they are without an addition
API = "/2010-04-01/Accounts/" + ACCOUNT
TWIML = (
    '<?xml version="1.0" encoding="UTF-8"?><Response><Say voice="Polly.Joanna">Please hold, we connect you to the next'
    " agent.{}</Say></Response>"
)


class Event(NamedTuple):
    """A record as a producer puts it. `at` is in epoch seconds."""

    at: float
    partition_key: str
    data: bytes


def events(shard: int, count: int, first_at: float, last_at: float, size: int = SIZE) -> Iterator[Event]:
    """Yield the events of one shard in order, about `size` bytes each (at least 1,180), with unique ids."""
    addition = "x" * ((size - SIZE) * 3 // 4)  # it comes back in base64
    for number in range(count):
        at = first_at + (last_at - first_at) * number / count
        name = f"{shard:04x}{number:028x}"
        kind, what = (_created, "created") if number % 2 else (_modified, "modified")
        yield Event(at, f"CA{name}", _event(what, name, at, kind, addition))


def _event(what: str, name: str, at: float, kind: Callable[..., dict[str, Any]], addition: str) -> bytes:
    second = _rfc2822(int(at))
    data = {
        "sid": f"CA{name}",
        "requestDateCreated": second,
        "timestamp": _iso(at),
        "eventSid": f"VW{name}",
        **kind(name, second, addition),
    }
    event = {
        "specversion": "1.0",
        "type": f"com.twilio.voice.api-request.call.{what}",
        "source": f"{API}/Calls/CA{name}.json",
        "id": f"VW{name}",
        "dataschema": "https://events-schemas.twilio.com/Voice.WebhookEvent/2",
        "datacontenttype": "application/json",
        "time": _iso(at + 0.013),
        "data": data,
    }
    return json.dumps(event, separators=(",", ":")).encode()


def _created(name: str, second: str, addition: str) -> dict[str, Any]:
    """Return a request to Twilio that creates a call, and its response."""
    to, caller = f"+1628555{name[-4:]}", "+14155550100"
    parameters = {
        "To": to,
        "From": caller,
        "Url": "https://demo.example.com/voice.xml",
        "Method": "POST",
        "Timeout": "55",
    }
    body = {"sid": f"CA{name}", "account_sid": ACCOUNT, "to": to, "from": caller, "status": "queued" + addition}
    url = f"https://api.twilio.com{API}/Calls.json"
    return _exchange(url, parameters, 201, "application/json", json.dumps(body), second)


def _modified(name: str, second: str, addition: str) -> dict[str, Any]:
    """Return a webhook request to the customer's server, and its TwiML."""
    parameters = {
        "AccountSid": ACCOUNT,
        "CallSid": f"CA{name}",
        "CallStatus": "in-progress",
        "Direction": "inbound",
        "From": f"+1415555{name[-4:]}",
        "To": "+16285550100",
    }
    return _exchange(
        "https://demo.example.com/voice", parameters, 200, "text/xml; charset=utf-8", TWIML.format(addition), second
    )


def _exchange(
    url: str, parameters: dict[str, str], code: int, content_type: str, body: str, second: str
) -> dict[str, Any]:
    return {
        "request": {"method": "POST", "url": url, "parameters": parameters},
        "response": {
            "responseCode": code,
            "requestDuration": 87,
            "contentType": content_type,
            "responseBody": base64.b64encode(body.encode()).decode(),
            "dateCreated": second,
        },
    }


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@lru_cache(maxsize=16)
def _rfc2822(second: int) -> str:
    return format_datetime(datetime.fromtimestamp(second, UTC))
