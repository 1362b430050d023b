"""The dead letter: what could not become a row, with its bytes and its place. Its key is its place and its reason."""

from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict  # pydantic needs it below Python 3.12

from schemas.place import EventLocation


class Refusal(TypedDict):
    """Why it could not become a row."""

    reason: Annotated[
        Literal["not-json", "not-cloudevent", "invalid-event", "corrupt-aggregate", "sink-rejected", "internal-error"],
        Field(description="Why it is one."),
    ]
    message: Annotated[str, Field(description="The same in words, without values of the event.")]


class DeadLetter(Refusal, EventLocation):
    """One dead letter."""

    data: Annotated[str, Field(description="Base64 of the user record; of the whole record for corrupt-aggregate.")]
    rejected_at: Annotated[str, Field(description="When it became a dead letter.")]
    worker_version: Annotated[str, Field(description="The version of this program.")]
