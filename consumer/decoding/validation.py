"""Holds an event of the family against its declared shape. Odd fields are nulled and noted: no reason to refuse."""

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

REQUIRED = ("id", "source", "type")  # of every CloudEvent


@cache  # made when the first event needs it, which most streams never have
def _contract() -> Any:
    return TypeAdapter(VoiceApiRequest).validator.validate_python


def validate(event: dict[str, Any], odd: Warnings) -> VoiceApiRequest:
    """The event as declared: what is not as it should be is null, or absent.

    Raises:
        RecordRejected: not-cloudevent for id, source or type; invalid-event for data or its sid.
    """
    names = [name for name in REQUIRED if not (isinstance(text := event.get(name), str) and text)]
    if names:  # pydantic finds them too, but takes ten times as long
        raise RecordRejected(Reason.NOT_CLOUDEVENT, f"missing, empty or no string: {', '.join(names)}")
    try:
        valid: VoiceApiRequest = _contract()(event, strict=True)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        return _mend(event, [problem["loc"] for problem in problems], odd)
    return valid


def _mend(event: dict[str, Any], places: Sequence[tuple[int | str, ...]], odd: Warnings) -> VoiceApiRequest:
    if not isinstance(event.get("data"), dict):
        return validate({**event, "data": _payload(event, odd)}, odd)
    if ("data", "sid") in places:
        raise RecordRejected(Reason.INVALID_EVENT, "data.sid is missing, empty or no string")
    odd.note(WarningCode.FIELD)
    for place in places:
        event = _nulled(event, place[:3])  # no field lies deeper; what follows names a member of a union
    valid: VoiceApiRequest = _contract()(event, strict=True)
    return valid


def _nulled(value: dict[str, Any], place: Sequence[int | str]) -> dict[str, Any]:
    """A copy with the field at `place` null."""
    name, rest = str(place[0]), place[1:]
    return {**value, name: _nulled(value[name], rest) if rest else None}


def _payload(event: dict[str, Any], odd: Warnings) -> dict[str, Any]:
    """What is in `data` as a string, or in `data_base64`."""
    data, encoded = event.get("data"), event.get("data_base64")
    try:
        if isinstance(data, str):
            odd.note(WarningCode.DATA_STRING)
            data = parse(data.encode(), odd)
        elif data is None and isinstance(encoded, str):
            data = parse(base64.b64decode(encoded, validate=True), odd)
    except (ValueError, RecordRejected):
        raise RecordRejected(Reason.INVALID_EVENT, "data is no JSON") from None
    if not isinstance(data, dict):
        raise RecordRejected(Reason.INVALID_EVENT, "data is missing or no object")
    return data
