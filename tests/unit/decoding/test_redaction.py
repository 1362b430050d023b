"""Keep secrets out of rows."""

import base64
import json
import time
from typing import Any
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.decoding import redaction
from consumer.decoding.redaction import without_password, without_passwords, without_secrets
from tests.events import json_values, row, with_request, with_response

URLS = [
    ("https://api.example.com/a", "https://api.example.com/a"),
    ("https://user:pw@api.example.com/a", "https://user:***@api.example.com/a"),
    ("https://user:p:w@api.example.com/a", "https://user:***@api.example.com/a"),
    ("https://user:p@w@api.example.com/a", "https://user:***@api.example.com/a"),
    ("https://user:p/w@api.example.com/a", "https://user:***@api.example.com/a"),
    ("https://user:p?w@api.example.com/a", "https://user:***@api.example.com/a"),
    ("https://user:p#w@api.example.com/a", "https://user:***@api.example.com/a"),
    ("https://user:p\\w@api.example.com/a", "https://user:***@api.example.com/a"),
    ("https://user:/pw@api.example.com/a", "https://user:***@api.example.com/a"),
    ("https://us%3Aer:p%40w@api.example.com/a", "https://us%3Aer:***@api.example.com/a"),
    ("https://:pw@api.example.com/", "https://:***@api.example.com/"),
    ("https://user:@api.example.com/", "https://user:***@api.example.com/"),
    ("https://user:pä ss☎@api.example.com/", "https://user:***@api.example.com/"),
    ("HTTPS://user:pw@api.example.com", "HTTPS://user:***@api.example.com"),
    (" https://user:pw@api.example.com", " https://user:***@api.example.com"),
    ("https:/user:pw@api.example.com", "https:/user:***@api.example.com"),
    ("https:\\\\user:pw@api.example.com", "https:\\\\user:***@api.example.com"),
    ("//user:pw@api.example.com/a", "//user:***@api.example.com/a"),
    ("user:pw@api.example.com/a", "user:***@api.example.com/a"),
    ("sip:user:pw@api.example.com", "sip:user:***@api.example.com"),
    ("https://user:pw@[2001:db8::1]:8443/a", "https://user:***@[2001:db8::1]:8443/a"),
    ("https://user@api.example.com/a", "https://user@api.example.com/a"),
    ("https://api.example.com:8443/a@b:c", "https://api.example.com:8443/a@b:c"),
    ("https://api.example.com/?mail=a:b@c", "https://api.example.com/?mail=a:b@c"),
    ("https://[2001:db8::1]/a@b", "https://[2001:db8::1]/a@b"),
    ("mailto:user@example.com", "mailto:user@example.com"),
    ("https://a.example/?x=1&SipAuthPassword=pw&y=2#z", "https://a.example/?x=1&SipAuthPassword=***&y=2#z"),
    ("", ""),
    ("@", "@"),
]


@pytest.mark.parametrize(("url", "expected"), URLS)
def test_the_password_of_a_url_is_masked(url: str, expected: str) -> None:
    """The rest of the URL stays."""
    assert without_password(url) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<Play>https://user:pw@host/a</Play>", "<Play>https://user:***@host/a</Play>"),
        ('{"url": "https:\\/\\/user:pw@host\\/a"}', '{"url": "https:\\/\\/user:***@host\\/a"}'),
        ("https://a:pw@b,https://c:pw@d https://e:p@w@f", "https://a:***@b,https://c:***@d https://e:***@f"),
        ("see https://user:p/w@host/a, please", "see https://user:***@host/a, please"),
        ("Url=https%3A%2F%2Fuser%3Apw%40host%2Fa&Mail=a%40b", "Url=https%3A%2F%2Fuser%3A***%40host%2Fa&Mail=a%40b"),
        ("Url=https%3A//user%3Apw@host/a", "Url=https%3A//user%3A***@host/a"),
        ("https://a/?next=https://b/?next=https://user:pw@c", "https://a/?next=https://b/?next=https://user:***@c"),
        ("https%253A%252F%252Fuser%253Apw%2540host", "https%253A%252F%252Fuser%253A***%2540host"),
        ('<Sip>sip:user:pw@host;transport="tls"</Sip>', '<Sip>sip:user:***@host;transport="tls"</Sip>'),
        ("to sip%3Auser%3Apw%40host", "to sip%3Auser%3A***%40host"),
        ("//user:pw@host/a", "//user:***@host/a"),
        ("see http://host:8080/a@b and [https://[2001:db8::1]:80/a@b]", None),
        ("at 10:30 @ the office, mail a:b@c // d: e@f", None),
        ("dial sip:user@host:5060, client:user@host", None),
        ("sip:user@host:5060", None),
        ("100 % of https%3A%2F%2Fhost%3A80%2Fa%40b", None),
    ],
)
def test_the_password_of_each_url_in_a_text_is_masked(text: str, expected: str | None) -> None:
    """URLs have many spellings. Text that only resembles a URL (None) stays."""
    assert without_passwords(text) == (expected or text)
    assert without_passwords(expected or text) == (expected or text)


def test_no_text_of_a_row_contains_the_password_of_a_url() -> None:
    """This covers Url, StatusCallback, lists, To, From and bodies, on both paths."""
    url = "https://user:pw-1@host/a"
    parameters = {"Url": url, "StatusCallback": [url, url], "To": "sip:user:pw-1@host", "Twiml": f"<Play>{url}</Play>"}
    assert "pw-1" not in json.dumps(row(with_request(url=f"https://host/?cb={url}", parameters=parameters)))
    assert row(with_request(parameters=parameters))["request_parameters"]["StatusCallback"] == [
        "https://user:***@host/a",
        "https://user:***@host/a",
    ]
    nested = {"Url": {"of": [url]}, url: None}  # not on the fast path
    assert "pw-1" not in json.dumps(row(with_request(parameters=nested)))
    body = base64.b64encode(json.dumps({"code": 1, "message": f"no answer from {url}", "status": url}).encode())
    assert "pw-1" not in json.dumps(row(with_response(responseBody=body.decode())))


@pytest.mark.parametrize(
    "piece", ["://a:b/", "/", ":", "sip:", "%25", "%3A%2Fa%3A", "://a:", "@", "%3A%2F%2F", "https://u:p@h,"]
)
def test_masking_takes_linear_time(piece: str) -> None:
    """Ten times the text takes about ten times as long."""
    seconds = []
    for repeats in (10_000, 100_000):
        text = f"@%{piece * repeats}@%"
        began = time.process_time()
        without_passwords(text)
        seconds.append(time.process_time() - began)
    assert seconds[1] < 40 * seconds[0] + 0.1


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"To": "1", "SipAuthPassword": "pw"}, {"To": "1", "SipAuthPassword": "***"}),
        ({"sipauthpassword": "pw", "SIPAUTHPASSWORD": "pw"}, {"sipauthpassword": "***", "SIPAUTHPASSWORD": "***"}),
        ({"SipAuthPassword": ["pw", {"a": "pw"}]}, {"SipAuthPassword": "***"}),
        ({"SipAuthPassword": 7}, {"SipAuthPassword": "***"}),
        ({"SipAuthPassword": None}, {"SipAuthPassword": None}),
        ({"a": [{"b": {"SipAuthPassword": "pw"}}]}, {"a": [{"b": {"SipAuthPassword": "***"}}]}),
        ([{"SipAuthPassword": "pw"}, 7], [{"SipAuthPassword": "***"}, 7]),
        ("To=1&SipAuthPassword=p=w&From=2", "To=1&SipAuthPassword=***&From=2"),
        ('{"SipAuthPassword": "pw"}', "***"),
        ({"AddOns": '{"SipAuthPassword": "pw"}'}, {"AddOns": "***"}),
        ({"SipAuthUsername": "agent"}, {"SipAuthUsername": "agent"}),
        (None, None),
        (7, 7),
        ([], []),
        ("", ""),
    ],
)
def test_the_sip_password_is_masked_everywhere(parameters: Any, expected: Any) -> None:
    """It may be in any letter case, nested, in a list, and in text."""
    assert msgspec.json.decode(without_secrets(parameters)) == expected


def test_an_escaped_name_is_the_same_name() -> None:
    """JSON can spell any letter as an escape of four digits."""
    escaped = json.dumps(with_request(parameters={"SipAuthPassword": "pw-1"})).replace("SipAuth", "\\u0053ip\\u0041uth")
    assert row(escaped.encode())["request_parameters"] == {"SipAuthPassword": "***"}


@given(json_values)
def test_other_parameters_stay_as_they_are(parameters: Any) -> None:
    """Their JSON is identical."""
    assert without_secrets(parameters) == msgspec.Raw(msgspec.json.encode(parameters))


@given(st.text(alphabet="ab:/@?#\\[]. 1", max_size=12))
def test_a_password_is_masked_before_any_rest_of_the_url(rest: str) -> None:
    """Masking twice changes nothing."""
    hidden = without_password(f"https://user:secret@{rest}")
    assert "secret" not in hidden
    assert without_password(hidden) == hidden
    assert hidden.startswith("https://user:***@")


@given(
    st.lists(st.sampled_from(["https://a:b@c", "SipAuthPassword=x&", "sip:u:p@h", "%3A%2F%2Fa%3Ab%40", *"aé :/@\\%"])),
    st.integers(1, 4),
)
def test_secrets_in_long_text_are_hidden_as_in_short_text(parts: list[str], pieces: int) -> None:
    """Long text is rewritten piece by piece. The name in parameters is counted piece by piece, too."""
    text = "".join(parts)
    whole = without_secrets({text: [text]}), without_password(text)
    with patch.multiple(redaction, LONG=pieces, PIECES=pieces):
        assert (without_secrets({text: [text]}), without_password(text)) == whole
