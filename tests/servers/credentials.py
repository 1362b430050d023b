"""The services that containers and instances ask for AWS credentials."""

import json
import threading
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from tests.servers.loopback import LoopbackServer, QuietHandler

SECRET = "s.HUSH12345"
KEYS = {"AccessKeyId": "A", "SecretAccessKey": SECRET, "Token": "T", "Expiration": "2999-01-01T00:00:00Z"}
LISTING, ROLE = "/latest/meta-data/iam/security-credentials/", "reader"
PATIENCE = 90.0  # seconds for which a request hangs at most


class Answer(NamedTuple):
    """A response with `missing` bytes fewer than its header says."""

    status: int = 200
    body: str | bytes = ""
    missing: int = 0


class Metadata(LoopbackServer):
    """An instance metadata service with a role, unless a test changes the response of a path."""

    def __init__(self) -> None:
        self.answers = {
            "/latest/api/token": Answer(body="token"),
            LISTING: Answer(body=ROLE),
            LISTING + ROLE: Answer(body=json.dumps(KEYS)),
            "/container": Answer(body=json.dumps(KEYS)),
        }
        super().__init__(_FromTable)


class _FromTable(QuietHandler):
    server: Metadata

    def reply(self) -> None:
        answer = self.server.answers.get(self.path, Answer(404))
        body = answer.body if isinstance(answer.body, bytes) else answer.body.encode()
        self.respond(answer.status, body, announced=len(body) + answer.missing)


class CredentialsEndpoint(LoopbackServer):
    """The credentials endpoint of a container. It hangs while `healthy` is not set.

    Its credentials are valid for `lifetime` seconds.
    """

    def __init__(self, lifetime: float) -> None:
        self.lifetime, self.healthy = lifetime, threading.Event()
        self.healthy.set()
        super().__init__(_WhenHealthy)


class _WhenHealthy(QuietHandler):
    server: CredentialsEndpoint

    def reply(self) -> None:
        self.server.healthy.wait(PATIENCE)
        expires = (datetime.now(UTC) + timedelta(seconds=self.server.lifetime)).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.respond(200, json.dumps({**KEYS, "Expiration": expires}).encode())
