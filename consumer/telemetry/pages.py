"""Serve the pages of the HTTP server: liveness, readiness and metrics."""

from collections.abc import Callable, Mapping
from http import HTTPStatus

from consumer.telemetry.exposition import Exposition
from consumer.telemetry.http import Page, Response

Problem = Callable[[], str]


def pages(not_live: Problem, not_ready: Problem, exposition: Exposition) -> Mapping[str, Page]:
    """Return the pages by path. `not_live` and `not_ready` return the problem, or "" when there is none."""
    return {
        "/livez": lambda: _probe("live", not_live(), "stalled: "),
        "/readyz": lambda: _probe("ready", not_ready()),
        "/metrics": lambda: Response(HTTPStatus.OK, exposition.text(), exposition.content_type),
    }


def _probe(healthy: str, problem: str, prefix: str = "") -> Response:
    if problem:
        return Response(HTTPStatus.SERVICE_UNAVAILABLE, f"{prefix}{problem}\n".encode())
    return Response(HTTPStatus.OK, f"{healthy}\n".encode())
