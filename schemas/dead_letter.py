"""The dead letter: an event that could not become a row, with its bytes. Its key is its location and its reason."""

from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict  # pydantic needs it below Python 3.12

from schemas.event_location import LocationFields


class Rejection(TypedDict):
    """Why the event could not become a row."""

    reason: Annotated[
        Literal["not-json", "not-cloudevent", "invalid-event", "corrupt-aggregate", "sink-rejected", "internal-error"],
        Field(description="Why the event became a dead letter."),
    ]
    message: Annotated[str, Field(description="The reason in words, without values of the event.")]


class DeadLetter(Rejection, LocationFields):
    """One dead letter."""

    data: Annotated[
        str | None,
        Field(description="Base64 of the user record; of the whole record for corrupt-aggregate. Null: left out."),
    ]
    rejected_at: Annotated[str, Field(description="When it became a dead letter.")]
    worker_version: Annotated[str, Field(description="The version of this program.")]
