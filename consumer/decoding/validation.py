"""Validate an event against its declared shape. Set invalid fields to null and note them instead of rejecting."""

import base64
from collections.abc import Sequence
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from consumer.decoding.json_document import parse
from consumer.decoding.rejection import RecordRejected
from consumer.decoding.warnings import Warnings
from consumer.records import Reason
from schemas.call_request import WarningCode
from schemas.voice_api_request import VoiceApiRequest

REQUIRED = ("id", "source", "type")  # in every CloudEvent


@cache  # built on first use: most streams only have events for the fast path
def _contract() -> Any:
    return TypeAdapter(VoiceApiRequest).validator.validate_python


def validate(event: dict[str, Any], warnings: Warnings) -> VoiceApiRequest:
    """Return the event in its declared shape. Invalid fields become null.

    Raises:
        RecordRejected: not-cloudevent if id, source or type is invalid; invalid-event if data or its sid is.
    """
    names = [name for name in REQUIRED if not (isinstance(text := event.get(name), str) and text)]
    if names:  # pydantic would find them too, but takes ten times as long
        raise RecordRejected(Reason.NOT_CLOUDEVENT, f"missing, empty or not a string: {', '.join(names)}")
    try:
        valid: VoiceApiRequest = _contract()(event, strict=True)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        return _repair(event, [problem["loc"] for problem in problems], warnings)
    return valid


def _repair(event: dict[str, Any], paths: Sequence[tuple[int | str, ...]], warnings: Warnings) -> VoiceApiRequest:
    if not isinstance(event.get("data"), dict):
        return validate({**event, "data": _payload(event, warnings)}, warnings)
    if ("data", "sid") in paths:
        raise RecordRejected(Reason.INVALID_EVENT, "data.sid is missing, empty or not a string")
    warnings.note(WarningCode.FIELD)
    for path in paths:
        event = _nulled(event, path[:3])  # no field lies deeper; longer paths name a member of a union
    valid: VoiceApiRequest = _contract()(event, strict=True)
    return valid


def _nulled(value: dict[str, Any], path: Sequence[int | str]) -> dict[str, Any]:
    """Return a copy with the field at `path` set to null."""
    name, rest = str(path[0]), path[1:]
    return {**value, name: _nulled(value[name], rest) if rest else None}


def _payload(event: dict[str, Any], warnings: Warnings) -> dict[str, Any]:
    """Return the payload from a string in `data`, or from `data_base64`."""
    data, encoded = event.get("data"), event.get("data_base64")
    try:
        if isinstance(data, str):
            warnings.note(WarningCode.DATA_STRING)
            data = parse(data.encode(), warnings)
        elif data is None and isinstance(encoded, str):
            data = parse(base64.b64decode(encoded, validate=True), warnings)
    except (ValueError, RecordRejected):
        raise RecordRejected(Reason.INVALID_EVENT, "data is not JSON") from None
    if not isinstance(data, dict):
        raise RecordRejected(Reason.INVALID_EVENT, "data is missing or not an object")
    return data
