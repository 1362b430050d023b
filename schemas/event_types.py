"""The event types that become rows: one line each, with what the row says about it."""

from typing import NamedTuple

from schemas.call_request import Action, Resource


class EventType(NamedTuple):
    """The resource that an API request is about, and the action that it asked for."""

    resource: Resource
    action: Action


EVENT_TYPES = {
    "com.twilio.voice.api-request.call.created": EventType("call", "created"),
    "com.twilio.voice.api-request.call.modified": EventType("call", "modified"),
    "com.twilio.voice.api-request.conference.modified": EventType("conference", "modified"),
    "com.twilio.voice.api-request.conference-participant.created": EventType("conference_participant", "created"),
    "com.twilio.voice.api-request.conference-participant.modified": EventType("conference_participant", "modified"),
    "com.twilio.voice.api-request.conference-participant.deleted": EventType("conference_participant", "deleted"),
}
