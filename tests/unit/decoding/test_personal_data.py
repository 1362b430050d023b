"""Redact personal data in rows, by choice."""

import json
from typing import Any

import msgspec
import pytest

from consumer.decoding.personal_data import MARK, Redaction
from consumer.redaction_choice import choice_of
from schemas.call_request import CallRequest

PHONE, TOKEN = "+15550100001", "s3cr3t-t0ken"
_row: Any = msgspec.defstruct("Row", [*CallRequest.__annotations__])


def redacted(choice: str, key: bytes = b"k" * 32, **values: Any) -> dict[str, Any]:
    """Return a row after redaction. Fields that are not given are null."""
    parameters = values.pop("request_parameters", None)
    row = _row(**{name: values.get(name) for name in CallRequest.__annotations__})
    row.request_parameters = msgspec.Raw(msgspec.json.encode(parameters))
    row.event_id, row.event_source = row.event_id or "EV" + "0" * 32, row.event_source or "/calls"
    row.partition_key = row.partition_key or "key"
    Redaction(choice_of(choice), key)(row)
    found: dict[str, Any] = json.loads(msgspec.json.encode(row))
    return found


CALL: dict[str, Any] = {
    "to_address": PHONE,
    "from_address": "client:ann",
    "request_parameters": {"To": PHONE, "Url": f"https://x/?t={TOKEN}", "Tags": [TOKEN, 7, None, True]},
    "request_url": f"https://api.twilio.com/2010-04-01/Accounts?a={TOKEN}&b&c=#{TOKEN}",
    "response_body": TOKEN,
    "error_message": PHONE,
}


def test_without_a_choice_a_row_stays_as_it_is() -> None:
    """Secrets are removed before, in any case."""
    found = redacted("", **CALL)
    assert {name: found[name] for name in CALL} == CALL
    assert not Redaction(choice_of(""))


def test_masked_values_keep_the_shape() -> None:
    """Names stay, so that one sees which parameters a request had."""
    found = redacted("parameters=mask,addresses=mask,body=mask,url-query=mask", **CALL)
    assert {name: found[name] for name in CALL} == {
        "to_address": "***",
        "from_address": "***",
        "request_parameters": {"To": "***", "Url": "***", "Tags": ["***", "***", None, True]},
        "request_url": "https://api.twilio.com/2010-04-01/Accounts?a=***&***&c=***",
        "response_body": "***",
        "error_message": "***",
    }


def test_dropped_values_are_null() -> None:
    """A query disappears from its URL."""
    found = redacted("parameters=drop,addresses=drop,body=drop,url-query=drop", **CALL)
    assert {name: found[name] for name in CALL} == {
        **dict.fromkeys(CALL, None),
        "request_url": "https://api.twilio.com/2010-04-01/Accounts",
    }


def test_equal_values_have_equal_hashes_wherever_they_stand() -> None:
    """So joins still work. Another key makes other hashes."""
    found = redacted("parameters=hash,addresses=hash,url-query=hash", **CALL)
    assert found["to_address"] == found["request_parameters"]["To"]
    assert found["to_address"].startswith(MARK)
    assert found["request_parameters"]["Tags"][0] in found["request_url"]
    assert redacted("addresses=hash", b"j" * 32, **CALL)["to_address"] != found["to_address"]


def test_addresses_are_found_among_parameters() -> None:
    """Also if the other parameters are kept."""
    found = redacted("addresses=mask", request_parameters={"To": PHONE, "Caller": PHONE, "Method": "GET"})
    assert found["request_parameters"] == {"To": "***", "Caller": "***", "Method": "GET"}


@pytest.mark.parametrize(
    ("field", "kept"),
    [
        ("event_id", "EV" + "a" * 32),
        ("event_source", "/2010-04-01/Accounts/AC" + "0" * 32 + "/Calls.json"),
        ("request_url", "https://api.twilio.com/2010-04-01/Accounts/AC" + "0" * 32 + "/Calls/CA" + "1" * 32 + ".json"),
        ("resource_sid", "CA" + "0" * 32),
        ("request_method", "POST"),
        ("response_content_type", "application/json"),
        ("resource_status", "in-progress"),
        ("response_status", 201),
        ("request_duration_ms", 120),
        ("error_code", 21211),
        ("twiml_verbs", ["Say", "Dial"]),
    ],
)
def test_strict_keeps_what_has_the_form_of_twilio(field: str, kept: Any) -> None:
    """A row stays useful: what was called, when, how it ended."""
    assert redacted("strict", **{field: kept})[field] == kept


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(
            (name, f"x{PHONE}")
            for name in ("event_id", "event_source", "resource_sid", "webhook_event_sid", "account_sid")
        ),
        ("event_source", f"/2010-04-01/Accounts/{PHONE}/Calls"),
        ("request_url", f"https://{TOKEN}@api.twilio.com/2010-04-01"),
        ("request_url", f"https://{PHONE}.example.com/{TOKEN}?{PHONE}"),
        ("request_url", f"https://api.twilio.com/{TOKEN}/Calls#{PHONE}"),
        ("request_url", f"sip:{PHONE}@twilio.com"),
        ("request_method", PHONE),
        ("response_content_type", f"text/plain; {TOKEN}"),
        ("resource_status", TOKEN),
        ("response_status", 15550100001),
        ("request_duration_ms", 15550100001),
        ("error_code", -15550100001),
        ("event_schema_version", 155501000),
        ("twiml_verbs", ["Say", TOKEN]),
        ("partition_key", PHONE),
        ("request_parameters", {PHONE: TOKEN, "To": PHONE, "A": {PHONE: [15550100001]}}),
        ("request_parameters", [PHONE, {TOKEN: 15550100001}]),
        ("request_parameters", PHONE),
        ("to_address", PHONE),
        ("from_address", TOKEN),
        ("response_body", TOKEN),
        ("error_message", PHONE),
    ],
)
def test_strict_keeps_no_value_of_another_form(field: str, value: Any) -> None:
    """A phone number or a token can stand in any field of a hostile event."""
    shown = json.dumps(redacted("strict", **{field: value}))
    assert not any(secret in shown for secret in (PHONE[1:], TOKEN, "155501000"))


def test_strict_tells_events_apart() -> None:
    """Else rows of different events would replace each other in a sink."""
    first, second = (redacted("strict", event_id=f"{PHONE}{number}") for number in (1, 2))
    assert first["event_id"] != second["event_id"]


def test_strict_can_hash_addresses() -> None:
    """A category that is named besides is treated as named."""
    assert redacted("strict,addresses=hash", **CALL)["to_address"].startswith(MARK)


@pytest.mark.parametrize("text", ["all", "parameters", "parameters=keep", "body=mask,body=drop", "=mask", "Strict"])
def test_a_wrong_choice_is_named_with_a_correct_form(text: str) -> None:
    """The message becomes one line on stderr."""
    with pytest.raises(ValueError, match=r"say strict, or|given twice"):
        choice_of(text)


def test_the_fingerprint_changes_with_choice_and_key_only() -> None:
    """A batch that was prepared under another choice is not taken for this one. It does not reveal the key."""
    prints = {
        Redaction(choice_of(text), key).fingerprint
        for text, key in [("strict", b"a"), ("strict", b"b"), ("body=mask", b"a"), ("", b"a"), ("", b"b")]
    }
    assert len(prints) == 4
    assert (
        Redaction(choice_of("body=mask, parameters=drop")).fingerprint
        == Redaction(choice_of("parameters=drop,body=mask")).fingerprint
    )
