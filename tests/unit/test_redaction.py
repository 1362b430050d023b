"""What must not reach a row."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.pipeline.redaction import without_password, without_secrets
from tests.unit.events import json_values, row, with_request

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
def test_the_password_of_a_url_is_hidden(url: str, expected: str) -> None:
    """And nothing but the password."""
    assert without_password(url) == expected


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
def test_the_sip_password_is_hidden_wherever_it_is(parameters: Any, expected: Any) -> None:
    """In any case, nested, in a list, and in text."""
    assert msgspec.json.decode(without_secrets(parameters)) == expected


def test_a_name_in_escapes_is_the_same_name() -> None:
    """JSON can spell any letter as \\u0053."""
    escaped = json.dumps(with_request(parameters={"SipAuthPassword": "pw-1"})).replace("SipAuth", "\\u0053ip\\u0041uth")
    assert row(escaped.encode())["request_parameters"] == {"SipAuthPassword": "***"}


@given(json_values)
def test_other_parameters_stay_as_they_are(parameters: Any) -> None:
    """The very same JSON."""
    assert without_secrets(parameters) == msgspec.Raw(msgspec.json.encode(parameters))


@given(st.text(alphabet="ab:/@?#\\[]. 1", max_size=12))
def test_whatever_follows_the_password_it_is_gone(rest: str) -> None:
    """And hiding twice hides no more."""
    hidden = without_password(f"https://user:secret@{rest}")
    assert "secret" not in hidden
    assert without_password(hidden) == hidden
    assert hidden.startswith("https://user:***@")
