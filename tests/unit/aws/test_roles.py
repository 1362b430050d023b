"""Assume roles of other accounts with the worker's own credentials, renew them, and use each for its own service."""

import json
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from consumer.adapters import Adapters, connect
from consumer.app import create_worker
from consumer.errors import ConfigurationError, ConsumerError
from consumer.settings import Settings, load

STREAM_ROLE = "arn:aws:iam::111122223333:role/reader"
LEASES_ROLE = "arn:aws:iam::444455556666:role/leases"


class Aws(ThreadingHTTPServer):
    """An AWS endpoint that responds as STS only, and keeps which access key signed which request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.signed: list[tuple[str, str, str]] = []  # access key, service, role
        self.refusal: str | None = None  # STS requests
        self.code = "AccessDeniedException"  # requests to other services
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    """Handle one request."""

    server: Aws

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        found = re.search(r"Credential=([^/]+)/\d+/[^/]+/([^/]+)/", self.headers["Authorization"])
        assert found is not None
        role = parse_qs(body).get("RoleArn", [""])[0] if found[2] == "sts" else ""
        self.server.signed.append((found[1], found[2], role))
        if found[2] != "sts" or self.server.refusal is not None:
            refused = error(str(self.server.refusal)) if found[2] == "sts" else json.dumps({"__type": self.server.code})
            self._answer(403, refused)
        else:
            self._answer(200, assumed(role))

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


def error(code: str) -> str:
    return f"<ErrorResponse><Error><Code>{code}</Code><Message>not trusted</Message></Error></ErrorResponse>"


def assumed(role: str) -> str:
    key = "KEY-OF-" + role.rpartition("/")[2]
    expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    return (
        "<AssumeRoleResponse><AssumeRoleResult><Credentials>"
        f"<AccessKeyId>{key}</AccessKeyId><SecretAccessKey>S</SecretAccessKey><SessionToken>T</SessionToken>"
        f"<Expiration>{expires}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
    )


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    server = Aws()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "OWN")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "S")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.url)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    yield server
    server.shutdown()
    server.server_close()


def settings(aws: Aws, directory: Path, **roles: str) -> Settings:
    flags = {"stream": "calls", "endpoint_url": aws.url, "region": "us-east-1", "leases": "dynamodb:leases", **roles}
    return load({**flags, "dead_letters": f"jsonl:{directory}/letters"}, environ={})


def asked(made: Adapters) -> None:
    """Call both services. Neither allows the call."""
    for call in (made.stream.summary, made.leases.check):
        with pytest.raises(ConsumerError, match="AccessDenied"):
            call()
    made.stream.close()
    made.leases.close()


def test_each_role_signs_for_its_own_service(aws: Aws, tmp_path: Path) -> None:
    """The worker's own credentials sign only for STS, and each role is assumed once."""
    asked(connect(settings(aws, tmp_path, stream_role_arn=STREAM_ROLE, leases_role_arn=LEASES_ROLE)))
    assert aws.signed == [
        ("OWN", "sts", STREAM_ROLE),
        ("KEY-OF-reader", "kinesis", ""),
        ("OWN", "sts", LEASES_ROLE),
        ("KEY-OF-leases", "dynamodb", ""),
    ]


def test_without_a_role_the_workers_own_credentials_sign(aws: Aws, tmp_path: Path) -> None:
    """STS is not called."""
    asked(connect(settings(aws, tmp_path)))
    assert aws.signed == [("OWN", "kinesis", ""), ("OWN", "dynamodb", "")]


def test_one_role_for_both_services_is_assumed_once(aws: Aws, tmp_path: Path) -> None:
    """Both services share its credentials."""
    asked(connect(settings(aws, tmp_path, stream_role_arn=STREAM_ROLE, leases_role_arn=STREAM_ROLE)))
    assert [service for _, service, _ in aws.signed] == ["sts", "kinesis", "dynamodb"]


def test_a_denied_role_is_reported_with_the_message_of_sts(aws: Aws, tmp_path: Path) -> None:
    """The message does not name Kinesis."""
    aws.refusal = "AccessDenied"
    made = connect(settings(aws, tmp_path, stream_role_arn=STREAM_ROLE))
    with pytest.raises(ConfigurationError, match="STS refuses AssumeRole: AccessDenied: not trusted"):
        made.stream.summary()
    made.stream.close()
    made.leases.close()


def test_the_worker_renews_the_credentials_of_each_role_separately(aws: Aws, tmp_path: Path) -> None:
    """One task renews its own credentials, and one more per role."""
    roles = {"stream_role_arn": STREAM_ROLE, "leases_role_arn": LEASES_ROLE}
    worker = create_worker(settings(aws, tmp_path, **roles))
    assert len(worker.credentials) == 3
    for task in worker.credentials:
        task.step(0.0)
    assert [role for _, _, role in aws.signed] == [STREAM_ROLE, LEASES_ROLE]
    for close in worker.closes:
        close()


def test_credentials_that_a_service_rejects_are_loaded_again(aws: Aws, tmp_path: Path) -> None:
    """A missing permission does not cause this."""
    made = connect(settings(aws, tmp_path))
    [credentials] = made.credentials
    for code, doubted in (("AccessDeniedException", False), ("ExpiredTokenException", True)):
        aws.code = code
        with pytest.raises(ConfigurationError, match=code):
            made.stream.summary()
        assert credentials.rejected is doubted
    made.stream.close()
    made.leases.close()
