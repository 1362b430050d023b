"""The CloudEvents 1.0 envelope as Twilio sends it: strict about id, source and type, lenient about the rest.

Only the three are needed to say what an event is. Twilio's documented examples have a time in `datacontenttype` and no
`time`; such oddities are for whoever flattens the event to note.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, StringConstraints

Name = Annotated[str, StringConstraints(strict=True, min_length=1)]


class CloudEvent(BaseModel):
    """The envelope; unknown members are ignored."""

    model_config = ConfigDict(extra="ignore")

    id: Name
    source: Name
    type: Name
    specversion: Any = None
    time: Any = None
    datacontenttype: Any = None
    dataschema: Any = None
    data: Any = None
    data_base64: Any = None
