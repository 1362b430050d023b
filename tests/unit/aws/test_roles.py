"""Assume roles of other accounts with the worker's own credentials, renew them, and use each for its own service."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from consumer.adapters import Adapters, connect
from consumer.app import create_worker
from consumer.errors import ConfigurationError, ConsumerError
from consumer.settings import Settings, load
from tests.servers.sts import Aws

STREAM_ROLE = "arn:aws:iam::111122223333:role/reader"
LEASES_ROLE = "arn:aws:iam::444455556666:role/leases"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    server = Aws()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "OWN")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "S")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.url)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    yield server
    server.stop()


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
    with pytest.raises(ConfigurationError, match="STS rejects AssumeRole: AccessDenied: not trusted"):
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
