"""What the web server shows: is it live, is it ready, what has it counted."""

from collections.abc import Callable, Mapping
from http import HTTPStatus

from consumer.telemetry.exposition import Exposition
from consumer.telemetry.http import Page, Response

Problem = Callable[[], str]


def pages(not_live: Problem, not_ready: Problem, exposition: Exposition) -> Mapping[str, Page]:
    """The pages by path. `not_live` and `not_ready` say why not; nothing means well."""
    return {
        "/livez": lambda: _probe("live", not_live(), "stalled: "),
        "/readyz": lambda: _probe("ready", not_ready()),
        "/metrics": lambda: Response(HTTPStatus.OK, exposition.text(), exposition.content_type),
    }


def _probe(well: str, problem: str, kind: str = "") -> Response:
    if problem:
        return Response(HTTPStatus.SERVICE_UNAVAILABLE, f"{kind}{problem}\n".encode())
    return Response(HTTPStatus.OK, f"{well}\n".encode())
