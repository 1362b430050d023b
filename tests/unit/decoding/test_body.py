"""Read response bodies of any content type."""

import base64
import json
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.decoding.body import decode_body
from consumer.decoding.twiml import twiml_verbs
from consumer.decoding.warnings import Warnings
from tests.events import row, with_payload, with_response

XML = "application/xml"
JSON = "application/json"
DTD = '<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]><Response><Say>&b;</Say></Response>'
EXTERNAL = '<!DOCTYPE r [<!ENTITY a SYSTEM "file:///etc/passwd">]><Response><Say>&a;</Say></Response>'
NO_CHARSETS = ["klingon", "base64", "rot13", "zlib", "idna", "punycode", "undefined", "unicode_escape", "utf-7", "mbcs"]
NO_CHARSETS += ["raw_unicode_escape", "string.escape", "aliases", "x" * 1000, "-", "utf_8_sig.x"]
XINCLUDE = '<Response xmlns:x="http://www.w3.org/2001/XInclude"><x:include href="file:///etc/passwd"/></Response>'


def decode(body: bytes | str, content_type: str | None = None) -> tuple[Any, list[str]]:
    data = body if isinstance(body, bytes) else body.encode()
    odd = Warnings()
    return decode_body(base64.b64encode(data).decode(), content_type, odd), [warning_code.value for warning_code in odd]


@pytest.mark.parametrize(
    ("body", "content_type", "text", "kind", "odd"),
    [
        # JSON
        ('{"a":1}', JSON, '{"a":1}', "json", []),
        ('{"a":1}', "Application/JSON; Charset=UTF-8", '{"a":1}', "json", []),
        ('{"a":1}', "application/problem+json", '{"a":1}', "json", []),
        ('{"a":1}', None, '{"a":1}', "json", []),
        ('{"a":1}', "text/plain", '{"a":1}', "json", []),
        ("[1]", None, "[1]", "json", []),
        ('"text"', JSON, '"text"', "json", []),
        ("null", JSON, "null", "json", []),
        (b'\xef\xbb\xbf{"a":1}', JSON, '{"a":1}', "json", []),
        ('{"a":"é"}'.encode("utf-16"), f"{JSON}; charset=utf-16", '{"a":"é"}', "json", []),
        ('{"a":"é"}'.encode("latin-1"), f'{JSON}; charset="ISO-8859-1"', '{"a":"é"}', "json", []),
        ('{"a":"é"}'.encode("cp1252"), f"{JSON};charset=windows-1252", '{"a":"é"}', "json", []),
        ('{"a":"\\ud800"}', JSON, '{"a":"\\ud800"}', "json", ["invalid-unicode"]),
        ('{"a":1e999}', JSON, '{"a":1e999}', "json", ["outsize-number"]),
        ('{"a":NaN}', JSON, '{"a":NaN}', "text", ["odd-body"]),
        ('{"a":', JSON, '{"a":', "text", ["odd-body"]),
        ("Not found", JSON, "Not found", "text", ["odd-body"]),
        ("<Response/>", JSON, "<Response/>", "text", ["odd-body"]),
        (" ", JSON, " ", "text", ["odd-body"]),
        ('{"a":', None, '{"a":', "text", []),
        # TwiML
        ("<Response/>", XML, "<Response/>", "twiml", []),
        ("<Response/>", "text/html", "<Response/>", "twiml", []),
        ("<Response/>", None, "<Response/>", "twiml", []),
        ("\n <?xml version='1.0'?><Response/>", XML, "\n <?xml version='1.0'?><Response/>", "twiml", []),
        ("<other/>", XML, "<other/>", "text", []),
        ("<response/>", XML, "<response/>", "text", []),
        ("<TwilioResponse><Call/></TwilioResponse>", XML, "<TwilioResponse><Call/></TwilioResponse>", "text", []),
        ("<html><br></html>", "text/html", "<html><br></html>", "text", []),
        ("<Response>", XML, "<Response>", "text", ["refused-xml"]),
        (
            "<Response><Say>&nbsp;</Say></Response>",
            XML,
            "<Response><Say>&nbsp;</Say></Response>",
            "text",
            ["refused-xml"],
        ),
        ('{"a":1}', XML, '{"a":1}', "text", ["refused-xml"]),
        (DTD, XML, DTD, "text", ["refused-xml"]),
        (EXTERNAL, XML, EXTERNAL, "text", ["refused-xml"]),
        (XINCLUDE, XML, XINCLUDE, "twiml", []),
        # other types
        ("hello", "text/plain", "hello", "text", []),
        ("hello", None, "hello", "text", []),
        ("a\tb\r\nc", None, "a\tb\r\nc", "text", []),
        (b"\xef\xbb\xbf", "text/plain", "", "empty", []),
        # unknown or wrong character sets
        ("hello", "text/plain; charset=utf-16", ..., "undecodable", ["odd-body"]),
        (b"\xe9", "text/plain", ..., "undecodable", ["odd-body"]),
        (b"\xe9", "text/plain; charset=us-ascii", ..., "undecodable", ["odd-body"]),
        (b"\xe9", "text/plain; charset=iso-8859-1", "é", "text", []),
        *[("aGVsbG8=", f"text/plain; charset={name}", ..., "undecodable", ["odd-body"]) for name in NO_CHARSETS],
        # not text
        (b"\x89PNG\r\n\x1a\n\x00", "image/png", ..., "binary", []),
        (b"\x89PNG\r\n\x1a\n\x00", None, ..., "binary", []),
        (b"RIFF\x00\x00WAVE", "audio/wav", ..., "binary", []),
        (b"a\x00b", "text/plain", ..., "binary", []),
        (b"\x1f\x8b\x08", "application/octet-stream", ..., "binary", []),
        (b"\x89PNG", JSON, ..., "undecodable", ["odd-body"]),
    ],
)
def test_a_body_is_read_by_its_content_type(
    body: bytes | str, content_type: str | None, text: Any, kind: str, odd: list[str]
) -> None:
    """Text stays as it is. Other content stays base64, here `...`."""
    made, warnings = decode(body, content_type)
    data = body if isinstance(body, bytes) else body.encode()
    assert (made.text, made.kind) == (base64.b64encode(data).decode() if text is ... else text, kind)
    assert warnings == odd


@pytest.mark.parametrize(
    ("encoded", "kind", "odd"),
    [
        (None, "missing", []),
        (..., "missing", []),
        ("", "empty", []),
        ("%%%", "undecodable", ["odd-body"]),
        ("aGVsbG8", "undecodable", ["odd-body"]),
        ("aGVs\nbG8=", "undecodable", ["odd-body"]),
        ("aGVsbG8=aGVsbG8=", "undecodable", ["odd-body"]),
        ("=", "undecodable", ["odd-body"]),
        ("aGVsbG8-", "undecodable", ["odd-body"]),
        ("é", "undecodable", ["odd-body"]),
        ("plain text", "undecodable", ["odd-body"]),
    ],
)
def test_a_body_that_is_not_base64_stays_as_received(encoded: Any, kind: str, odd: list[str]) -> None:
    """Twilio's documentation does not say how an absent body looks, so all of these are normal."""
    response = with_response(responseBody=encoded)
    if encoded is ...:
        del response["data"]["response"]["responseBody"]
    made = row(response)
    assert (made["response_body"], made["response_body_kind"]) == (None if encoded is ... else encoded, kind)
    assert made["warnings"] == odd


@pytest.mark.parametrize("response", [..., None, {}])
def test_an_absent_body_is_normal(response: Any) -> None:
    """Absent, null and empty bodies are equal."""
    made = row(with_payload(response=response))
    assert (made["response_body_kind"], made["response_status"], made["warnings"]) == ("missing", None, [])


@pytest.mark.parametrize(
    ("text", "verbs"),
    [
        ("<Response><Say>a<b/></Say><Pause/><Say/></Response>", ["Say", "Pause", "Say"]),
        ("<?xml version='1.0' encoding='ISO-8859-1'?><Response><Say>é</Say></Response>", ["Say"]),
        ("<?xml version='1.0' encoding='UTF-16'?><Response><Say/></Response>", ["Say"]),
        ("<?xml version='1.0' encoding='klingon'?><Response><Say/></Response>", ["Say"]),
        ("<!-- a --><?b c?><Response><!-- d --><?e f?><Say/>text<![CDATA[<Play/>]]></Response><!-- g -->", ["Say"]),
        ('<Response xmlns="urn:a" xmlns:b="urn:b"><Say/><b:Play/></Response>', ["Say", "b:Play"]),
        ("<Response>&lt;Say/&gt;&#65;</Response>", []),
    ],
)
def test_verbs_are_the_elements_under_response(text: str, verbs: list[str]) -> None:
    """Comments, instructions and text are not verbs. A declared encoding is ignored."""
    assert twiml_verbs(text) == verbs


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"status": "queued"}, ("queued", None, None)),
        ({"status": 400, "code": 21211, "message": "no"}, (None, 21211, "no")),
        ({"code": "21211", "message": "no"}, (None, 21211, "no")),
        ({"code": "odd", "message": "no"}, (None, None, "no")),
        ({"code": None, "message": "fine"}, (None, None, None)),
        ({"message": "fine"}, (None, None, None)),
        ({"code": True, "message": 7}, (None, None, None)),
        ({"code": 2**80}, (None, None, None)),
        ({"code": 1.5}, (None, None, None)),
        ({"code": "²"}, (None, None, None)),
        ([{"status": "queued"}], (None, None, None)),
    ],
)
def test_an_error_body_provides_its_code(document: Any, told: tuple[Any, ...]) -> None:
    """It has `code`, `message`, and `status` if that is a string."""
    body = base64.b64encode(json.dumps(document).encode()).decode()
    made = row(with_response(responseBody=body))
    assert (made["resource_status"], made["error_code"], made["error_message"]) == told


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("[" * 100_000 + "]" * 100_000, JSON),
        ("<Response>" + "<a>" * 50_000 + "</a>" * 50_000 + "</Response>", XML),
        ("<Response>" + "<Say/>" * 50_000 + "</Response>", XML),
        ("<?xml " + "?" * 300_000, XML),
        ("{" + " " * 300_000, JSON),
        ("x" * 300_000, "text/plain;" + " charset" * 10_000),
        ("x" * 300_000, "text/plain; charset=punycode"),
        ("xn--" + "a" * 300_000, "text/plain; charset=idna"),
        (" " * 300_000 + "<", None),
    ],
)
def test_long_and_deep_bodies_take_linear_time(body: str, content_type: str) -> None:
    """A third of a megabyte takes seconds even on a slow machine."""
    began = time.process_time()
    decode(body, content_type)
    assert time.process_time() - began < 5


@given(st.binary(max_size=60), st.text(max_size=20) | st.sampled_from([JSON, XML, "text/x; charset=utf-16", None]))
def test_any_body_becomes_a_json_value(body: bytes, content_type: str | None) -> None:
    """The result can always be encoded."""
    made, _ = decode(body, content_type)
    assert made.kind in {"json", "twiml", "text", "binary", "empty", "undecodable"}
    assert msgspec.json.decode(msgspec.json.encode(made.text)) == made.text
