"""Repeat one operation with botocore's signer and HTTP session, without the other layers of its client.

Those take more than half of the CPU of a poll: they validate parameters, choose the endpoint, serialize and count
retries anew for each request, with the same result. The first request takes the whole way, and later ones copy it.
Handlers of botocore's events `before-sign`, `before-send` and `response-received` are called as usual.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from botocore.awsrequest import AWSRequest
from botocore.endpoint import convert_to_response_dict
from botocore.exceptions import ClientError
from botocore.hooks import first_non_none_response

CONTENT_TYPE = "application/x-amz-json-1.1"
# Headers that differ for each request. The signer adds the others again.
OWN_HEADERS = ("amz-sdk-invocation-id", "amz-sdk-request", "X-Amz-Date", "X-Amz-Security-Token", "Authorization")
PRIVATE = ("_request_signer", "_endpoint", "_make_api_call")
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class _Form:
    """What all requests of the operation have in common."""

    url: str
    headers: dict[str, str]
    context: dict[str, Any] = field(default_factory=dict)


class RepeatedCall:
    """Call an operation of a client. Its responses are those of the session's response parser, its errors the client's.

    Thread-safe. It uses private members of the client, and leaves the request to the client if it lacks one of them.
    """

    def __init__(self, client: Any, operation: str, parser: Any) -> None:
        self._client, self._operation, self._parser = client, operation, parser
        self._model = client.meta.service_model.operation_model(operation)
        self._form: _Form | None = None
        service = client.meta.service_model.service_id.hyphenize()
        self._names = {event: f"{event}.{service}.{operation}" for event in ("before-send", "response-received")}
        client.meta.events.register(f"before-sign.{service}.{operation}", self._learn)

    def __call__(self, **parameters: Any) -> Any:
        """Send a request and return the parsed response.

        Raises:
            ClientError: the service responded with an error.
            BotoCoreError: there is no response.
        """
        form = self._form
        if form is None:
            return self._client._make_api_call(self._operation, parameters)
        request = AWSRequest("POST", form.url, dict(form.headers), _encode(parameters))
        request.context.update(form.context)
        self._client._request_signer.sign(self._operation, request)
        return self._send(request.prepare())

    def _learn(self, request: Any = None, **_: Any) -> None:
        """Note the form of the first request, when it is about to be signed."""
        if self._form is not None:
            return
        headers = {name: _text(value) for name, value in request.headers.items() if name not in OWN_HEADERS}
        if headers.get("Content-Type") == CONTENT_TYPE and all(hasattr(self._client, name) for name in PRIVATE):
            self._form = _Form(request.url, headers, dict(request.context))

    def _send(self, prepared: Any) -> Any:
        events = self._client.meta.events
        answer = first_non_none_response(events.emit(self._names["before-send"], request=prepared))
        try:
            response = answer or self._client._endpoint.http_session.send(prepared)
        except Exception as error:
            events.emit(self._names["response-received"], parsed_response=None, exception=error)
            raise
        described = convert_to_response_dict(response, self._model)
        parsed = self._parser.parse(described, self._model.output_shape)
        if described["status_code"] < 300:
            return parsed
        events.emit(self._names["response-received"], parsed_response=parsed, exception=None)
        raise self._error(parsed)

    def _error(self, parsed: Mapping[str, Any]) -> ClientError:
        kind = self._client.exceptions.from_code(parsed.get("Error", {}).get("Code"))
        error: ClientError = kind(parsed, self._operation)
        return error


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
