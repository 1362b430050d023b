"""Report a metadata service that returns no credentials, and retry if that may change."""

import json
from collections.abc import Iterator
from pathlib import Path

import botocore.session
import pytest

from consumer.aws import metadata
from consumer.aws.credentials import SharedCredentials
from consumer.aws.providers import Chain
from consumer.errors import ConfigurationError, ConsumerError, CredentialsUnavailable
from tests.servers.credentials import KEYS, LISTING, ROLE, SECRET, Answer, Metadata


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Metadata]:
    """Provide a metadata service on loopback, and no other source of credentials."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_EC2_METADATA_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    server = Metadata()
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.url)
    yield server
    server.stop()


@pytest.fixture
def container(service: Metadata, monkeypatch: pytest.MonkeyPatch) -> Metadata:
    """Provide the same service as a container's credentials endpoint, without pauses between attempts."""
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{service.url}/container")
    monkeypatch.setattr("botocore.utils.ContainerMetadataFetcher.SLEEP_TIME", 0)
    return service


def loaded() -> str:
    """Return the access key that is found."""
    return str(SharedCredentials(Chain(botocore.session.Session(), "us-east-1")).get_frozen_credentials().access_key)


def failure(kind: type[ConsumerError]) -> str:
    """Return the one line that says why there are no credentials."""
    with pytest.raises(kind) as caught:
        loaded()
    text = str(caught.value)
    assert SECRET not in text
    assert "\n" not in text
    return text


PARTIAL = json.dumps({name: value for name, value in KEYS.items() if name != "Token"})
ERROR = '{"Code": "AssumeRoleUnauthorizedAccess", "Message": "EC2 cannot assume\\nthe role"}'
UNUSABLE = [
    (Answer(500), "responded with 500"),
    (Answer(503, SECRET), "responded with 503"),
    (Answer(429), "responded with 429"),
    (Answer(200, ""), "responded with an empty body"),
    (Answer(200, f"<html>{SECRET}"), "responded with a body that is not JSON"),
    (Answer(200, b"\xff\xfe"), "responded with a body that is not JSON"),
    (Answer(200, f'["{SECRET}"]'), "responded with JSON that is not an object"),
    (Answer(200, "null"), "responded with JSON that is not an object"),
    (Answer(200, "{}"), "responded without AccessKeyId, SecretAccessKey, Token, Expiration"),
    (Answer(200, PARTIAL), "responded without Token"),
    (Answer(200, json.dumps(KEYS | {"Expiration": SECRET})), "responded with an Expiration that is not a time"),
    (Answer(200, ERROR), "responded with AssumeRoleUnauthorizedAccess: EC2 cannot assume the role"),
    (Answer(200, json.dumps(KEYS), missing=9), ": the response was cut off"),
]


@pytest.mark.parametrize(("answer", "says"), UNUSABLE)
def test_a_failing_instance_metadata_service_is_named_and_retried(service: Metadata, answer: Answer, says: str) -> None:
    """botocore takes each of these responses for a machine without a role."""
    service.answers[LISTING + ROLE] = answer
    text = failure(CredentialsUnavailable)
    assert text.startswith("AWS credentials: the instance metadata service")
    assert says in text


@pytest.mark.parametrize(("answer", "says"), UNUSABLE)
def test_a_failing_container_endpoint_is_named_and_retried(container: Metadata, answer: Answer, says: str) -> None:
    """ECS and EKS have the same table."""
    container.answers["/container"] = answer
    text = failure(CredentialsUnavailable)
    assert text.startswith("AWS credentials: the container's credentials endpoint")
    assert says in text


@pytest.mark.parametrize(
    ("path", "answer", "says"),
    [
        (LISTING, Answer(500), "responded with 500"),
        (LISTING, Answer(200, "x", missing=9), "the response was cut off"),
        ("/latest/api/token", Answer(500), "responded with 500"),
    ],
)
def test_each_request_to_the_instance_metadata_service_may_fail(
    service: Metadata, path: str, answer: Answer, says: str
) -> None:
    """Without a token the next request is rejected, which is not the cause."""
    service.answers[LISTING] = Answer(401)
    service.answers[path] = answer
    assert says in failure(CredentialsUnavailable)


def test_an_instance_without_a_role_is_reported_at_once(service: Metadata) -> None:
    """The listing returns 404, and waiting does not help."""
    service.answers[LISTING] = Answer(404, "<html>")
    assert "no AWS credentials: no role is attached to this instance" in failure(ConfigurationError)


def test_a_listed_role_without_credentials_is_retried(service: Metadata) -> None:
    """It has just been attached."""
    service.answers[LISTING + ROLE] = Answer(404)
    assert "responded with 404 for the role's credentials" in failure(CredentialsUnavailable)


@pytest.mark.parametrize("status", [301, 401, 403])
def test_an_instance_metadata_service_that_rejects_is_a_configuration_error(service: Metadata, status: int) -> None:
    """Causes are the hop limit, or a service of another cloud. Waiting does not help."""
    service.answers[LISTING] = Answer(status, SECRET)
    assert f"the instance metadata service responded with {status}" in failure(ConfigurationError)


@pytest.mark.parametrize("status", [301, 400, 403, 404])
def test_a_container_endpoint_that_rejects_is_a_configuration_error(container: Metadata, status: int) -> None:
    """The container has no role, or the token is wrong. Waiting does not help."""
    container.answers["/container"] = Answer(status, SECRET)
    text = failure(ConfigurationError)
    assert f"the container's credentials endpoint responded with {status}: attach a role to the container" in text


def test_a_machine_without_a_metadata_service_has_no_credentials(
    service: Metadata, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No service responds, as on a laptop."""
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:9")
    assert failure(ConfigurationError).startswith("no AWS credentials: set AWS_PROFILE")


@pytest.mark.parametrize("status", [403, 503])
def test_a_proxy_that_responds_for_the_metadata_service_is_named(
    service: Metadata, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """A proxy's response says nothing about a role, and waiting does not help."""
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://metadata.invalid")
    monkeypatch.setenv("HTTP_PROXY", service.url.replace("http://", f"http://user:{SECRET}@"))
    monkeypatch.setenv("NO_PROXY", "")
    service.answers[f"http://metadata.invalid{LISTING}"] = Answer(status)
    text = failure(ConfigurationError)
    assert text.startswith("no AWS credentials: set AWS_PROFILE")
    assert f"was asked through the proxy {service.url}: put metadata.invalid into NO_PROXY" in text


def test_a_role_of_a_profile_reports_its_source(
    service: Metadata, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """credential_source uses the same service."""
    role = "role_arn = arn:aws:iam::111122223333:role/r\ncredential_source = Ec2InstanceMetadata\n"
    (tmp_path / "AWS_CONFIG_FILE").write_text(f"[profile p]\n{role}")
    monkeypatch.setenv("AWS_PROFILE", "p")
    service.answers[LISTING + ROLE] = Answer(500)
    assert "the instance metadata service responded with 500" in failure(CredentialsUnavailable)


def test_each_service_returns_credentials_after_a_failure(container: Metadata, monkeypatch: pytest.MonkeyPatch) -> None:
    """An earlier response does not matter."""
    assert loaded() == "A"
    monkeypatch.delenv("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    assert loaded() == "A"
    assert tuple(KEYS) == metadata.FIELDS
