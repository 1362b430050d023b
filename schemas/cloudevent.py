"""The CloudEvents 1.0 envelope as Twilio sends it: strict about id, source and type, lenient about the rest.

Only these three identify an event. Twilio's documented examples have a time in `datacontenttype` and no `time`;
`consumer.decoding.flattening` notes such defects as warnings.
"""

from typing import Annotated, Any, Required

from pydantic import Field
from typing_extensions import TypedDict  # pydantic needs it below Python 3.12

Name = Annotated[str, Field(min_length=1)]


class CloudEvent(TypedDict, total=False):
    """The envelope without `data`, whose shape depends on the type. Unknown members are ignored; null means absent."""

    id: Required[Name]
    source: Required[Name]
    type: Required[Name]
    specversion: Any
    time: Any
    datacontenttype: Any
    dataschema: Any
    data_base64: Any
