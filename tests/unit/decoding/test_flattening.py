"""Flatten an event into a row with warnings."""

import base64
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from consumer.records import DeadLetter, Reason
from schemas import examples
from schemas.call_request import CallRequest, WarningCode
from tests.events import (
    FAMILY,
    SID,
    each,
    event,
    json_values,
    row,
    spelled,
    with_payload,
    with_request,
    with_response,
)
from tests.unit.decoding.outcomes import outcomes

ROW = TypeAdapter(CallRequest)
SCHEMA = "https://events-schemas.twilio.com/Voice.WebhookEvent/"
ENVELOPE = ["specversion", "time", "datacontenttype", "dataschema", "data", "data_base64"]
PAYLOAD = ["requestDateCreated", "timestamp", "eventSid", "request", "response"]
INNER = ["method", "url", "parameters", "responseCode", "requestDuration", "contentType", "responseBody", "dateCreated"]


@pytest.mark.parametrize(
    ("name", "resource", "action"),
    [
        ("call.created", "call", "created"),
        ("call.modified", "call", "modified"),
        ("conference.modified", "conference", "modified"),
        ("conference-participant.created", "conference_participant", "created"),
        ("conference-participant.modified", "conference_participant", "modified"),
        ("conference-participant.deleted", "conference_participant", "deleted"),
    ],
)
def test_the_type_gives_resource_and_action(name: str, resource: str, action: str) -> None:
    """This covers all event types."""
    made = row(event(type=FAMILY + name))
    assert (made["resource"], made["action"], made["event_type"]) == (resource, action, FAMILY + name)


@pytest.mark.parametrize(
    ("document", "warnings"),
    [
        (event(), []),
        (event(unknown={"a": [1]}, subject="x", data_base64=None), []),
        (with_payload(unknown=7), []),
        *[(event(specversion=value), ["odd-specversion"]) for value in (..., None, "0.3", "2.0", 1.0, "")],
        *[(event(time=value), ["odd-time"]) for value in (..., None, 7, "soon")],
        *[
            (event(datacontenttype=value), ["odd-datacontenttype"])
            for value in (..., None, 7, "", "text/plain", "2025-10-08T07:17:02.363Z", "json", "application/jsonx")
        ],
        (event(datacontenttype="Application/JSON; charset=utf-8"), []),
        (event(datacontenttype="application/cloudevents+json"), []),
        (event(dataschema=f"{SCHEMA}1"), []),
        (event(dataschema=f"{SCHEMA}2.json"), []),
        (event(dataschema="https://events-schemas.korewireless.com/Voice.WebhookEvent/1"), []),
        *[(event(dataschema=f"{SCHEMA}{value}"), ["unknown-schema-version"]) for value in ("3", "9.json", "0", "999")],
        *[
            (event(dataschema=value), ["odd-dataschema"])
            for value in (..., None, 7, "", f"{SCHEMA}", f"{SCHEMA}x", f"{SCHEMA}2/", f"{SCHEMA}2\n", f"{SCHEMA}\u0662")
        ],
        (event(dataschema="https://events-schemas.twilio.com/Messaging.MessageStatus/2"), ["odd-dataschema"]),
        (event(data=json.dumps(event()["data"])), ["data-is-a-string"]),
        (event(data="\ufeff" + json.dumps(event()["data"])), ["data-is-a-string"]),
        (
            event(data=..., data_base64=base64.b64encode(json.dumps(event()["data"]).encode()).decode()),
            ["data-is-base64"],
        ),
        (
            event(data=None, data_base64=base64.b64encode(json.dumps(event()["data"]).encode()).decode()),
            ["data-is-base64"],
        ),
        (event(data_base64="AAAA"), ["data-is-base64"]),
        *[
            (with_payload(sid=value), ["odd-sid"])
            for value in each("CA1", "ca" + "0" * 32, SID + "0", "CA" + "g" * 32, SID + "\n")
        ],
        (with_payload(sid="CF" + "aB" * 16), []),
        *[(with_payload(eventSid=value), ["odd-field"]) for value in each(7, [], {}, True)],
        (with_payload(eventSid=None), []),
        *[(with_payload(request=value), ["odd-field"]) for value in each("no", [], 7)],
        *[(with_payload(response=value), ["odd-field"]) for value in each("no", [], 7)],
        *[(with_request(url=value), ["odd-field"]) for value in each(7, [], {})],
        *[(with_response(contentType=value, responseBody=value), ["odd-field"]) for value in each(7, [], {})],
        (with_request(method=7, url=None), ["odd-field"]),
        (spelled(event(), id='"a\\ud800b"'), ["invalid-unicode"]),
        (spelled(event(), **{"x": '"\\udfff\\ud800"'}), ["invalid-unicode"]),
        (spelled(event(), x="1e999"), ["outsize-number"]),
        (spelled(event(), x="9" * 9999), ["outsize-number"]),
    ],
)
def test_an_unusual_value_is_a_warning_and_keeps_the_row(document: Any, warnings: list[str]) -> None:
    """The row is valid and names the problem."""
    made = row(document)
    assert made["warnings"] == warnings
    assert {str(code) for code in made["warnings"]} <= {warning_code.value for warning_code in WarningCode}
    ROW.validate_json(json.dumps(made), strict=True)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (200, 200),
        ("200", 200),
        ("0042", 42),
        (0, 0),
        (-1, -1),
        (2**63 - 1, 2**63 - 1),
        (None, None),
        *[
            (value, ...)
            for value in (
                "",
                "9" * 19,
                " 200",
                "-200",
                "+200",
                "2e2",
                "200.0",
                "2_0",
                "0x1",
                "soon",
                "٢٠٠",
                "²",
                "9" * 99,
            )
        ],
        *[(value, ...) for value in (200.0, 200.5, 1e300, True, False, [], [200], {}, {"constrained-int": 1})],
        *[(value, ...) for value in (2**63, -(2**63) - 1, 10**40)],
    ],
)
@pytest.mark.parametrize(
    ("name", "column"), [("responseCode", "response_status"), ("requestDuration", "request_duration_ms")]
)
def test_digit_strings_become_integers_and_all_else_null_with_a_warning(
    name: str, column: str, value: Any, number: Any
) -> None:
    """`...` stands for an invalid value. The other field keeps its value."""
    made = row(with_response(**{name: value}))
    odd = number is ...
    assert (made[column], made["warnings"]) == (None if odd else number, ["odd-field"] if odd else [])
    assert made["response_body_kind"] == "json"


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        [],
        None,
        7,
        "a=b",
        True,
        1.5,
        {"StatusCallbackEvent": ["a", "b"]},
        {"AddOns": '{"status":"x"}'},
        {"a": {"b": [None]}},
        {"To": None},
        [[1]],
        {"": ""},
        {"big": 2**70, "tiny": 5e-324},
    ],
)
def test_parameters_stay_as_they_are(parameters: Any) -> None:
    """They may be any JSON."""
    made = row(with_request(parameters=parameters))
    assert (made["request_parameters"], made["warnings"]) == (parameters, [])


def test_numbers_outside_of_a_double_become_text() -> None:
    """A reader of the row could not read them; smaller ones stay numbers."""
    text = json.dumps(with_request(parameters="@")).replace(
        '"@"', f'{{"a": 1e400, "b": -1E999, "c": {"9" * 5000}, "d": {2**80}}}'
    )
    made = row(text.encode())["request_parameters"]
    assert made == {"a": "1e400", "b": "-1E999", "c": "9" * 5000, "d": 2**80}


@pytest.mark.parametrize("sign", ["", "-"])
@pytest.mark.parametrize("x", ["", "\\ud800"])
@pytest.mark.parametrize("digits", [308, 400, 4300, 4301])
def test_a_long_integer_is_kept_as_text_whatever_else_is_unusual(sign: str, x: str, digits: int) -> None:
    """The fast and the full parser agree on which integers stay numbers."""
    number = sign + "9" * digits
    text = json.dumps(with_request(parameters={"x": x, "n": "@"})).replace('"@"', number).replace("\\\\", "\\")
    made = row(text.encode())
    kept = digits <= 4300
    assert made["request_parameters"]["n"] == (int(number) if kept else number)
    assert ("outsize-number" in made["warnings"]) is not kept


@pytest.mark.parametrize(
    ("parameters", "url", "source", "account"),
    [
        ({"AccountSid": "AC1"}, "https://a.example/Accounts/AC22222222/x", "/Accounts/AC33333333/x", "AC1"),
        ({"AccountSid": ""}, "https://a.example/Accounts/AC22222222/x", "/Accounts/AC33333333/x", "AC22222222"),
        ({"AccountSid": 7}, "https://a.example/Accounts/AC22222222.json", "/Accounts/AC33333333/x", "AC22222222"),
        ([], "/2010-04-01/Accounts/AC22222222", "/Accounts/AC33333333/x", "AC22222222"),
        ({}, "https://AC44444444:pw@a.example/", "AC33333333", "AC33333333"),
        ({}, "https://AC44444444.example/", "AC33333333", "AC33333333"),
        ({}, "https://user:p/AC44444444/w@a.example/", "AC33333333", "AC33333333"),
        ({}, "https://a.example/?a=/AC44444444/", "/Accounts/AC33333333/Calls/x", "AC33333333"),
        ({}, "https://a.example/#/AC44444444/", "/Accounts/AC33333333", "AC33333333"),
        ({}, "https://a.example/ACCOUNTING/ACTIVE2026", "/Accounts/AC33333333", "AC33333333"),
        ({}, "https://a.example/Accounts/ACxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.json", "s", "AC" + 32 * "x"),
        ({}, "https://a.example/xAC44444444/", "Sink", "AC5ef8732a3c49700934481addd5ce1659"),
        ({}, None, "https://a.example/Accounts/AC33333333/x", "AC33333333"),
    ],
)
def test_the_account_comes_from_the_first_source_that_has_it(
    parameters: Any, url: Any, source: str, account: str
) -> None:
    """Sources are parameters, the path of the URL, the source, and a JSON body, in this order."""
    made = row({**with_request(parameters=parameters, url=url), "source": source})
    assert made["account_sid"] == account


@pytest.mark.parametrize(
    ("parameters", "to"), [({"To": "a"}, "a"), ({"To": ""}, "b"), ({"To": ["a"]}, "b"), ({}, "b"), (["To"], "b")]
)
def test_addresses_come_from_the_parameters_or_a_json_body(parameters: Any, to: str) -> None:
    """To and From win over to and from."""
    document = with_request(parameters=parameters)
    document["data"]["response"]["responseBody"] = base64.b64encode(b'{"to": "b", "from": "c"}').decode()
    made = row(document)
    assert (made["to_address"], made["from_address"]) == (to, "c")


def test_secrets_do_not_appear_in_the_row() -> None:
    """The password of a URL and SipAuthPassword are masked."""
    [outcome] = outcomes(examples.load("live-like-call-created-rejected"))
    assert isinstance(outcome, bytes)
    assert b"never-in-a-log" not in outcome


def members(names: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(names), json_values, max_size=3)


@given(members(ENVELOPE), members(PAYLOAD), members(INNER), members(INNER))
def test_any_optional_members_give_a_valid_row_or_a_dead_letter(
    envelope: dict[str, Any], payload: dict[str, Any], request: dict[str, Any], response: dict[str, Any]
) -> None:
    """A row matches its schema, and its line is one line of JSON."""
    data = {"sid": "CA1", "request": request, "response": response, **payload}
    for outcome in outcomes(json.dumps(event(**{"data": data, **envelope})).encode(), raw=True):
        if isinstance(outcome, bytes):
            assert b"\n" not in outcome
            made = msgspec.json.decode(outcome)
            made.pop("event")
            ROW.validate_python(made)
            assert list(made) == list(CallRequest.__annotations__)
        else:
            assert isinstance(outcome, DeadLetter)
            assert outcome.reason in (Reason.INVALID_EVENT, Reason.NOT_JSON)


def test_the_json_schema_of_a_row_lists_every_warning_code() -> None:
    """Each code has a description."""
    schema = ROW.json_schema()
    assert schema["$defs"]["WarningCode"]["enum"] == [warning_code.value for warning_code in WarningCode]
    assert all(
        f"{warning_code.value}: {warning_code.meaning}." in schema["properties"]["warnings"]["description"]
        for warning_code in WarningCode
    )
    assert all("description" in field for field in schema["properties"].values())
    assert schema["required"] == list(schema["properties"])
