"""Share credentials between all clients, and renew them ahead of need while their source may hang or fail."""

import stat
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import ClientError
from structlog.testing import CapturingLogger

from consumer.aws import credential_process
from consumer.aws.access import Access
from consumer.aws.credentials import SharedCredentials
from consumer.aws.providers import Chain, Loaded
from consumer.aws.renewal import Renewal
from consumer.errors import ConfigurationError, ConsumerError, CredentialsUnavailable
from consumer.telemetry.outages import Outages

SECRET = "s.HUSH12345"
START = datetime(2026, 11, 1, tzinfo=UTC)


class FakeSource:
    """A source of credentials with a clock. Each set has a number and lives for `lifetime`."""

    asking = "the source"

    def __init__(self, lifetime: float | None = 3600.0) -> None:
        self.now, self.lifetime, self.asked = START, lifetime, 0
        self.error: Exception | None = None
        self.fixed = False

    def __call__(self) -> Loaded | None:
        self.asked += 1
        if self.error is not None:
            raise self.error
        expires = None if self.lifetime is None else self.now + timedelta(seconds=self.lifetime)
        return Loaded(ReadOnlyCredentials(f"A{self.asked}", "S", "T", None), expires, self.fixed)

    def clock(self) -> datetime:
        return self.now

    def seconds(self) -> float:
        return (self.now - START).total_seconds()


class Running:
    """Credentials whose renewal a test steps in the source's time."""

    def __init__(self, source: FakeSource) -> None:
        self.source, self.log = source, CapturingLogger()
        self.credentials = SharedCredentials(source, source.clock)
        self.renewal = Renewal(self.credentials, Outages(self.log, source.seconds))
        self._due = 0.0

    def run(self, seconds: float) -> None:
        """Advance the time, and step the task when it is due."""
        end = (self.source.now - START).total_seconds() + seconds
        while self._due <= end:
            self.source.now = START + timedelta(seconds=self._due)
            delay = self.renewal.step(self._due)
            if delay is None:
                return
            assert delay > 0
            self._due += delay
        self.source.now = START + timedelta(seconds=end)

    @property
    def key(self) -> str:
        return str(self.credentials.get_frozen_credentials().access_key)

    @property
    def events(self) -> list[str]:
        return [str(call.args[0]) for call in self.log.calls]


def test_credentials_are_renewed_a_quarter_of_an_hour_before_they_expire() -> None:
    """No request waits for the renewal."""
    running = Running(FakeSource())
    running.run(3600 - 16 * 60)
    assert running.key == "A1"
    running.run(2 * 60)
    assert running.key == "A2"


@pytest.mark.parametrize("lifetime", [2.0, 20.0, 60.0, 14 * 60.0])
def test_short_lived_credentials_are_renewed_after_half_their_life(lifetime: float) -> None:
    """They never expire, and the source is not asked more often than needed."""
    running = Running(FakeSource(lifetime))
    for _ in range(50):
        running.run(lifetime / 10)
        assert running.credentials.valid
    assert 5 <= running.source.asked <= 12


@pytest.mark.parametrize("error", [CredentialsUnavailable("hangs"), ConfigurationError("no"), KeyError(SECRET)])
def test_valid_credentials_sign_while_their_source_fails(error: Exception) -> None:
    """After they expire, each request fails with the reason."""
    running = Running(FakeSource())
    running.run(1)
    running.source.error = error
    running.run(3590)
    assert running.key == "A1"
    running.run(30)
    with pytest.raises(CredentialsUnavailable, match="AWS credentials expired at 2026-11-01 01:00:00 UTC: ") as caught:
        _ = running.key
    assert SECRET not in str(caught.value)
    running.source.error = None
    running.run(60)
    assert running.key.startswith("A")
    assert running.events[-1] == "credentials.resumed"


def test_failed_renewals_are_logged_seldom_and_with_a_reason() -> None:
    """The interval grows, and one line reports the end."""
    running = Running(FakeSource())
    running.run(1)
    running.source.error = CredentialsUnavailable("hangs")
    running.run(3300)
    running.source.error = None
    running.run(120)
    warnings = [call for call in running.log.calls if call.args[0] == "credentials.not_renewed"]
    assert 3 <= len(warnings) <= 6
    assert warnings[0].kwargs["error"] == "AWS credentials: hangs"
    assert warnings[0].kwargs["good_for"] == pytest.approx(900, abs=15)
    assert running.events.count("credentials.resumed") == 1


def test_a_hanging_source_delays_no_request() -> None:
    """The renewal has a separate thread, so other threads use the valid credentials."""
    source = FakeSource()
    credentials = SharedCredentials(source, source.clock)
    renewal = Renewal(credentials, Outages(CapturingLogger(), lambda: 0.0))
    renewal.step(0.0)
    source.now += timedelta(seconds=3000)
    hung, reached = threading.Event(), threading.Event()

    class Hanging(ConsumerError):
        pass

    def hang() -> Loaded | None:
        reached.set()
        hung.wait(10)
        raise Hanging

    credentials._source = type("Hangs", (), {"asking": "x", "__call__": lambda _: hang()})()
    thread = threading.Thread(target=renewal.step, args=(3000.0,))
    thread.start()
    assert reached.wait(10)
    assert credentials.get_frozen_credentials().access_key == "A1"
    hung.set()
    thread.join(10)


def test_the_first_credentials_are_waited_for_by_the_name_of_their_source() -> None:
    """Nothing can be signed without them."""
    credentials = SharedCredentials(FakeSource())
    Renewal(credentials, Outages(CapturingLogger(), lambda: 0.0))
    with pytest.raises(CredentialsUnavailable, match="still waiting for the source"):
        credentials.get_frozen_credentials()


def test_a_lasting_reason_for_missing_credentials_is_a_configuration_error() -> None:
    """It ends the start at once."""
    running = Running(FakeSource())
    for error in (ConfigurationError("no"), CredentialsUnavailable("later")):
        running.source.error = error
        running.run(30)
        with pytest.raises(type(error), match=f"AWS credentials: {error}"):
            running.credentials.ready()


def test_rejected_credentials_are_loaded_again_but_seldom() -> None:
    """A file may contain newer ones by now. A service that rejects all of them must not cause a storm of requests."""
    running = Running(FakeSource(lifetime=None))
    running.run(1)
    running.credentials.reject()
    running.run(3)
    assert running.key == "A2"
    for _ in range(100):
        running.credentials.reject()
        running.run(3)
    assert running.source.asked <= 13


def test_credentials_of_the_environment_need_no_renewal() -> None:
    """They cannot change."""
    source = FakeSource(lifetime=None)
    source.fixed = True
    renewal = Renewal(SharedCredentials(source), Outages(CapturingLogger(), lambda: 0.0))
    assert renewal.step(0.0) is not None
    assert renewal.step(1.0) is None


def test_a_source_that_returns_expired_credentials_is_named() -> None:
    """The clock of this machine may be wrong."""
    running = Running(FakeSource(lifetime=-5.0))
    running.run(1)
    with pytest.raises(CredentialsUnavailable, match=r"the source: its credentials expired .* clock"):
        _ = running.key


def test_without_a_renewal_task_credentials_are_loaded_on_demand() -> None:
    """`doctor` and `publish` do this."""
    source = FakeSource(lifetime=60.0)
    credentials = SharedCredentials(source, source.clock)
    assert credentials.get_frozen_credentials().access_key == "A1"
    source.now += timedelta(seconds=61)
    assert credentials.access_key == "A2"


def test_credentials_that_no_header_can_carry_are_rejected_without_being_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of the request would show them."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", f"{SECRET}\n")
    with pytest.raises(ConfigurationError, match="AWS_SECRET_ACCESS_KEY: the secret key contains") as caught:
        Access("us-east-1").credentials.get_frozen_credentials()
    assert SECRET not in str(caught.value)


# Where they come from ------------------------------------------------------------------------------------------------


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Chain]:
    """Return a function that makes a chain of providers for the text of a config file with the profile `p`."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_PROFILE", "p")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))

    def chain(text: str) -> Chain:
        (tmp_path / "config").write_text(text)
        return Chain(botocore.session.Session(), "us-east-1")

    return chain


def refusal(chain: Chain) -> str:
    """Return the one line that says why there are no credentials."""
    credentials = SharedCredentials(chain)
    with pytest.raises(ConsumerError) as caught:
        credentials.get_frozen_credentials()
    text = str(caught.value)
    assert SECRET not in text
    assert "\n" not in text
    return text


def helper(directory: Path, script: str) -> Path:
    file = directory / "helper.sh"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return file


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (f"echo {SECRET} >&2; echo {SECRET}; exit 3", "exit status 3"),
        ("kill -9 $$", "killed by signal 9"),
        (f"echo {SECRET}", "what it prints is not a JSON object"),
        (f"echo '[\"{SECRET}\"]'", "what it prints is not a JSON object"),
        ("printf '\\377'", "what it prints is not a JSON object"),
        (f'echo \'{{"Version": 1, "AccessKeyId": "{SECRET}"}}\'', "lacks SecretAccessKey"),
        (f'echo \'{{"Version": 1, "AccessKeyId": 7, "SecretAccessKey": "{SECRET}"}}\'', "lacks AccessKeyId"),
        (f'echo \'{{"Version": "{SECRET}", "AccessKeyId": "A", "SecretAccessKey": "S"}}\'', "lacks Version 1"),
        (
            f'echo \'{{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "S", "Expiration": "{SECRET}"}}\'',
            "its Expiration is not an ISO 8601 time",
        ),
        (
            'echo \'{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "S", "Expiration": "2026-01-01T00:00:00"}\'',
            "its Expiration has no time zone",
        ),
        (
            'echo \'{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "S", "SessionToken": 7}\'',
            "its SessionToken is not text",
        ),
    ],
)
@pytest.mark.parametrize("by_way_of_a_role", [False, True])
def test_a_failed_credential_process_is_named_by_command_and_exit_status(
    configured: Callable[[str], Chain], tmp_path: Path, script: str, says: str, by_way_of_a_role: bool
) -> None:
    """Its output may contain secrets. This holds for a process of a source profile, too."""
    role = "role_arn = arn:aws:iam::111122223333:role/r\nsource_profile = q\n[profile q]\n" if by_way_of_a_role else ""
    text = f"[profile p]\n{role}credential_process = {helper(tmp_path, script)} --token {SECRET}\n"
    assert f"credential process '{tmp_path}/helper.sh' of profile {'q' if role else 'p'}: " in refusal(configured(text))
    assert says in refusal(configured(text))


@pytest.mark.parametrize(
    ("command", "says"), [("/nonexistent/helper", "No such file or directory"), ("/etc/passwd", "Permission denied")]
)
def test_a_credential_process_that_cannot_be_started_has_its_own_message(
    configured: Callable[[str], Chain], command: str, says: str
) -> None:
    """It may be missing, or not executable."""
    assert says in refusal(configured(f"[profile p]\ncredential_process = {command}\n"))


def test_a_hanging_credential_process_is_ended(
    configured: Callable[[str], Chain], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The processes that it started, which hold its output open, end too."""
    monkeypatch.setattr(credential_process, "TIMEOUT", 0.2)
    chain = configured(f"[profile p]\ncredential_process = {helper(tmp_path, 'sleep 60')}\n")
    began = time.monotonic()
    assert "did not end within" in refusal(chain)
    assert time.monotonic() - began < 30


def test_a_credential_process_that_still_runs_is_killed_at_the_end(
    configured: Callable[[str], Chain], tmp_path: Path
) -> None:
    """Otherwise it would outlive the worker."""
    file = tmp_path / "began"
    chain = configured(f"[profile p]\ncredential_process = {helper(tmp_path, f'echo > {file}; sleep 60')}\n")
    said: list[str] = []
    thread = threading.Thread(target=lambda: said.append(refusal(chain)))
    began = time.monotonic()
    thread.start()
    while not file.exists():
        time.sleep(0.01)
    Renewal(SharedCredentials(chain), Outages(CapturingLogger(), lambda: 0.0)).close()
    thread.join(30)
    assert time.monotonic() - began < 30
    assert "killed by signal 9" in said[0]


def test_a_credential_process_returns_credentials(configured: Callable[[str], Chain], tmp_path: Path) -> None:
    """Its output is valid."""
    printed = '{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "S", "Expiration": "2999-01-01T00:00:00Z"}'
    chain = configured(f"[profile p]\ncredential_process = {helper(tmp_path, f'echo {printed!r}')}\n")
    loaded = chain()
    assert loaded is not None
    assert (loaded.keys.access_key, loaded.expires) == ("A", datetime(2999, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[profile p]\n", "no AWS credentials: set AWS_PROFILE"),
        ("[profile other]\n", "AWS profile 'p' (AWS_PROFILE): it is not in"),
        ("[profile p\n", "it cannot be parsed"),
        ("[profile p]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = p\n", "the role of the profile"),
        ("[profile p]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = q\n", "the role of the profile"),
        (
            "[profile p]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = q\n"
            "[profile q]\nrole_arn = arn:aws:iam::1:role/s\nsource_profile = p\n",
            "Infinite loop",
        ),
        (
            "[profile p]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = q\nmfa_serial = arn:aws:iam::1:mfa/u\n"
            "[profile q]\naws_access_key_id = A\naws_secret_access_key = S\n",
            "the AWS profile wants an MFA code",
        ),
        (
            "[profile p]\nsso_session = s\nsso_account_id = 1\nsso_role_name = r\n"
            "[sso-session s]\nsso_start_url = https://x.invalid\nsso_region = us-east-1\n",
            "run aws sso login",
        ),
        ("[profile p]\nsso_session = s\nsso_account_id = 1\nsso_role_name = r\n", "SSO: "),
        (f"[profile p]\ncredential_process = 'helper --token {SECRET}\n", "credential_process: no closing quotation"),
        ("[profile p]\naws_access_key_id = A\n", "Partial credentials"),
    ],
)
def test_a_mistake_in_the_config_file_is_one_line(configured: Callable[[str], Chain], text: str, says: str) -> None:
    """The line names the provider that failed."""
    assert says in refusal(configured(text))


def test_the_party_that_failed_is_named_with_its_message() -> None:
    """This is STS or SSO with code and message, not the service that was to be called."""
    for operation, who in (("AssumeRoleWithWebIdentity", "STS"), ("AssumeRole", "STS"), ("GetRoleCredentials", "SSO")):
        source = FakeSource()
        response: Any = {"Error": {"Code": "InvalidIdentityToken", "Message": "no\nprovider"}}
        source.error = ClientError(response, operation)
        with pytest.raises(ConfigurationError, match=f"{who} rejects {operation}: InvalidIdentityToken: no provider"):
            SharedCredentials(source, source.clock).get_frozen_credentials()


@pytest.mark.parametrize(
    ("code", "status", "says"),
    [
        ("Throttling", 400, "STS throttles AssumeRole: Throttling: no provider"),
        ("RequestLimitExceeded", 503, "STS throttles AssumeRole: RequestLimitExceeded"),
        ("InternalFailure", 500, "STS does not respond to AssumeRole: InternalFailure"),
        ("ServiceUnavailable", 503, "STS does not respond to AssumeRole: ServiceUnavailable"),
        ("502", 502, "STS does not respond to AssumeRole: HTTP 502"),
    ],
)
def test_a_temporary_failure_of_a_source_is_retried(code: str, status: int, says: str) -> None:
    """Its message says that the source did not respond, not that it denied."""
    source = FakeSource()
    metadata: Any = {"HTTPStatusCode": status}
    source.error = ClientError(
        {"Error": {"Code": code, "Message": "no provider"}, "ResponseMetadata": metadata}, "AssumeRole"
    )
    with pytest.raises(CredentialsUnavailable, match=says):
        SharedCredentials(source, source.clock).get_frozen_credentials()
