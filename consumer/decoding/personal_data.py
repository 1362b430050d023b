"""Redact personal data in rows, as `--redact` chooses: parameters, addresses, bodies and the queries of URLs.

`strict` begins with masking all four. It keeps a value only if it has a form that holds no phone number, token or text
of a person (`decoding.strict_values`). Secrets are removed in any case (`decoding.redaction`).
"""

import hmac
import re
from collections.abc import Callable
from typing import Any

import msgspec

from consumer.decoding import strict_values
from consumer.decoding.redaction import HIDDEN
from consumer.redaction_choice import Action, Category, RedactionChoice

MARK = "hmac-"  # how a hash begins
_DIGITS = 32  # hexadecimal digits of a hash: 128 bits
# Parameters that hold an address: https://www.twilio.com/docs/voice/api/call-resource and …/conference-participant
_ADDRESSES = frozenset(
    name.lower()
    for name in (
        *("To", "From", "Caller", "Called", "CallerId", "CallerName", "ForwardedFrom", "OutboundCallerId", "Address"),
        *("CallToken", "SipUri", "PhoneNumber", "Label", "ParticipantLabel"),
    )
)
_PAIR = re.compile(r"([^=&;]*)(=?)([^&;]*)")
_encode = msgspec.json.Encoder().encode

Change = Callable[[str], str | None]


class Redaction:
    """Redact rows in place. `fingerprint` identifies choice and key, without revealing the key."""

    def __init__(self, choice: RedactionChoice, key: bytes = b"") -> None:
        self._choice, self._key = choice, key
        self.strict = choice.strict
        self.fingerprint = f"{choice.text} {self.hashed('fingerprint')}" if choice else ""
        self._changes = {category: self._change(action) for category, action in choice.actions.items()}

    def __bool__(self) -> bool:
        """Return whether there is anything to redact."""
        return bool(self._choice)

    def hashed(self, text: str) -> str:
        """Return a keyed hash: equal texts have equal hashes, and without the key no text can be tried."""
        return MARK + hmac.digest(self._key or b"call-consumer", text.encode(), "sha256").hex()[:_DIGITS]

    def __call__(self, row: Any) -> None:
        """Redact a row."""
        changes = self._changes
        if not changes:
            return
        if change := changes.get(Category.ADDRESSES):
            row.to_address, row.from_address = _changed(row.to_address, change), _changed(row.from_address, change)
        if change := changes.get(Category.BODY):
            row.response_body, row.error_message = (
                _changed(row.response_body, change),
                _changed(row.error_message, change),
            )
        if Category.PARAMETERS in changes or Category.ADDRESSES in changes:
            row.request_parameters = self._parameters(row.request_parameters)
        if (change := changes.get(Category.URL_QUERY)) and row.request_url is not None:
            row.request_url = _without_query(row.request_url, change)
        if self.strict:
            strict_values.restrict(row, self.hashed)

    def _change(self, action: Action) -> Change:
        return {Action.MASK: lambda _: HIDDEN, Action.HASH: self.hashed, Action.DROP: lambda _: None}[action]

    def _parameters(self, encoded: msgspec.Raw) -> msgspec.Raw:
        parameters = msgspec.json.decode(encoded)
        every, addresses = self._changes.get(Category.PARAMETERS), self._changes.get(Category.ADDRESSES)
        if every is not None and self._choice.actions[Category.PARAMETERS] is Action.DROP:
            return msgspec.Raw(b"null")
        if not isinstance(parameters, dict):
            return encoded if every is None else msgspec.Raw(_encode(_everywhere(parameters, every)))
        named = strict_values.parameter_name if self.strict else str
        changed: dict[str, Any] = {}
        for name, value in parameters.items():
            change = addresses if addresses and name.lower() in _ADDRESSES else every
            changed[named(name)] = value if change is None else _everywhere(value, change)
        return msgspec.Raw(_encode(changed))


NO_REDACTION = Redaction(RedactionChoice())


def _changed(value: str | None, change: Change) -> str | None:
    return None if value is None else change(value)


def _everywhere(value: Any, change: Change) -> Any:
    """Change every text and number in a JSON value, also the names in nested objects."""
    if isinstance(value, dict):
        return {change(name) or HIDDEN: _everywhere(item, change) for name, item in value.items()}
    if isinstance(value, list):
        return [_everywhere(item, change) for item in value]
    if value is None or isinstance(value, bool):
        return value
    return change(value if isinstance(value, str) else _encode(value).decode())


def _without_query(url: str, change: Change) -> str:
    """Return the URL with changed values in its query and fragment. Parts that are no pairs are changed as a whole."""
    path, mark, rest = _split(url)
    if not mark:
        return url
    pairs = (_pair(found, change) for found in _PAIR.finditer(rest) if found[0])
    shown = "&".join(pair for pair in pairs if pair)
    return f"{path}{mark}{shown}" if shown else path


def _split(url: str) -> tuple[str, str, str]:
    """Return what is before the query or the fragment, the character that begins it, and the rest."""
    found = re.search(r"[?#]", url)
    return (url[: found.start()], found[0], url[found.end() :]) if found else (url, "", "")


def _pair(found: "re.Match[str]", change: Change) -> str:
    name, equals, value = found.groups()
    if not equals:
        return change(name) or ""
    changed = change(value)
    return "" if changed is None else f"{name}={changed}"
