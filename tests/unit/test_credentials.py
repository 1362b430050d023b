"""Credentials that all clients share: renewed ahead of need, and signed with while their source hangs or fails."""

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

from consumer.aws import providers
from consumer.aws.access import Access
from consumer.aws.credentials import Renewal, SharedCredentials
from consumer.aws.providers import Chain, Loaded
from consumer.errors import ConfigurationError, ConsumerError, CredentialsUnavailable
from consumer.telemetry.outages import Outages

SECRET = "s.HUSH12345"
START = datetime(2026, 11, 1, tzinfo=UTC)


class Giver:
    """A source of credentials, with a clock: each set is named by its number and lives for `lifetime`."""

    asking = "the giver"

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
    """Credentials whose renewal is stepped by a test in the giver's time."""

    def __init__(self, giver: Giver) -> None:
        self.giver, self.log = giver, CapturingLogger()
        self.credentials = SharedCredentials(giver, giver.clock)
        self.renewal = Renewal(self.credentials, Outages(self.log, giver.seconds))
        self._due = 0.0

    def run(self, seconds: float) -> None:
        """Let time go by; the task is stepped whenever it wants to be."""
        end = (self.giver.now - START).total_seconds() + seconds
        while self._due <= end:
            self.giver.now = START + timedelta(seconds=self._due)
            delay = self.renewal.step(self._due)
            if delay is None:
                return
            assert delay > 0
            self._due += delay
        self.giver.now = START + timedelta(seconds=end)

    @property
    def key(self) -> str:
        return str(self.credentials.get_frozen_credentials().access_key)

    @property
    def events(self) -> list[str]:
        return [str(call.args[0]) for call in self.log.calls]


def test_they_are_renewed_a_quarter_of_an_hour_ahead() -> None:
    """No request ever waits for it."""
    running = Running(Giver())
    running.run(3600 - 16 * 60)
    assert running.key == "A1"
    running.run(2 * 60)
    assert running.key == "A2"


@pytest.mark.parametrize("lifetime", [2.0, 20.0, 60.0, 14 * 60.0])
def test_short_lived_ones_are_renewed_at_half_their_life(lifetime: float) -> None:
    """They are never expired, and asked for no oftener than that needs."""
    running = Running(Giver(lifetime))
    for _ in range(50):
        running.run(lifetime / 10)
        assert running.credentials.valid
    assert 5 <= running.giver.asked <= 12


@pytest.mark.parametrize("error", [CredentialsUnavailable("hangs"), ConfigurationError("no"), KeyError(SECRET)])
def test_while_their_source_fails_what_is_valid_is_signed_with(error: Exception) -> None:
    """It costs nothing until they have really expired; then the reason is told with each request."""
    running = Running(Giver())
    running.run(1)
    running.giver.error = error
    running.run(3590)
    assert running.key == "A1"
    running.run(30)
    with pytest.raises(CredentialsUnavailable, match="AWS credentials expired at 2026-11-01 01:00:00 UTC: ") as caught:
        _ = running.key
    assert SECRET not in str(caught.value)
    running.giver.error = None
    running.run(60)
    assert running.key.startswith("A")
    assert running.events[-1] == "credentials.resumed"


def test_failures_are_logged_seldom_and_with_a_reason() -> None:
    """At growing intervals; then one line says that it works again."""
    running = Running(Giver())
    running.run(1)
    running.giver.error = CredentialsUnavailable("hangs")
    running.run(3300)
    running.giver.error = None
    running.run(120)
    warnings = [call for call in running.log.calls if call.args[0] == "credentials.not_renewed"]
    assert 3 <= len(warnings) <= 6
    assert warnings[0].kwargs["error"] == "AWS credentials: hangs"
    assert warnings[0].kwargs["good_for"] == pytest.approx(900, abs=15)
    assert running.events.count("credentials.resumed") == 1


def test_a_source_that_hangs_holds_up_nobody() -> None:
    """Its thread is its own: others go on with what is valid."""
    giver = Giver()
    credentials = SharedCredentials(giver, giver.clock)
    renewal = Renewal(credentials, Outages(CapturingLogger(), lambda: 0.0))
    renewal.step(0.0)
    giver.now += timedelta(seconds=3000)
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


def test_the_first_ones_are_waited_for_with_the_name_of_who_gives_them_out() -> None:
    """Nothing is signed without."""
    credentials = SharedCredentials(Giver())
    Renewal(credentials, Outages(CapturingLogger(), lambda: 0.0))
    with pytest.raises(CredentialsUnavailable, match="still waiting for the giver"):
        credentials.get_frozen_credentials()


def test_the_reason_why_there_are_none_is_its_own_kind_of_error() -> None:
    """What waiting will not mend ends the start at once."""
    running = Running(Giver())
    for error in (ConfigurationError("no"), CredentialsUnavailable("later")):
        running.giver.error = error
        running.run(30)
        with pytest.raises(type(error), match=f"AWS credentials: {error}"):
            running.credentials.ready()


def test_ones_the_service_refuses_are_asked_for_anew_but_seldom() -> None:
    """A file may hold others by now; a service that refuses all of them is not answered by a storm."""
    running = Running(Giver(lifetime=None))
    running.run(1)
    running.credentials.doubt()
    running.run(3)
    assert running.key == "A2"
    for _ in range(100):
        running.credentials.doubt()
        running.run(3)
    assert running.giver.asked <= 13


def test_those_of_the_environment_need_no_task() -> None:
    """They cannot change."""
    giver = Giver(lifetime=None)
    giver.fixed = True
    renewal = Renewal(SharedCredentials(giver), Outages(CapturingLogger(), lambda: 0.0))
    assert renewal.step(0.0) is not None
    assert renewal.step(1.0) is None


def test_expired_ones_that_are_given_out_are_told_as_such() -> None:
    """Most likely a clock is wrong."""
    running = Running(Giver(lifetime=-5.0))
    running.run(1)
    with pytest.raises(CredentialsUnavailable, match=r"the giver: those it gives out expired .* clock"):
        _ = running.key


def test_without_a_task_they_are_loaded_by_whoever_needs_them() -> None:
    """As `doctor` and `publish` do."""
    giver = Giver(lifetime=60.0)
    credentials = SharedCredentials(giver, giver.clock)
    assert credentials.get_frozen_credentials().access_key == "A1"
    giver.now += timedelta(seconds=61)
    assert credentials.access_key == "A2"


def test_what_no_header_can_hold_is_refused_without_being_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the error of the request would show it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", f"{SECRET}\n")
    with pytest.raises(ConfigurationError, match="AWS_SECRET_ACCESS_KEY: the secret key holds") as caught:
        Access("us-east-1").credentials.get_frozen_credentials()
    assert SECRET not in str(caught.value)


# Where they come from ------------------------------------------------------------------------------------------------


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Chain]:
    """Makes a chain of providers for the text of a config file, whose profile is `p`."""
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
    """The one line that says why there are no credentials."""
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
            "its Expiration is no ISO 8601 time",
        ),
        (
            'echo \'{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "S", "Expiration": "2026-01-01T00:00:00"}\'',
            "its Expiration has no time zone",
        ),
        (
            'echo \'{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "S", "SessionToken": 7}\'',
            "its SessionToken is no text",
        ),
    ],
)
@pytest.mark.parametrize("by_way_of_a_role", [False, True])
def test_a_credential_process_is_known_by_its_command_and_exit_status_only(
    configured: Callable[[str], Chain], tmp_path: Path, script: str, says: str, by_way_of_a_role: bool
) -> None:
    """Its output may hold secrets; also where another profile names it as its source."""
    role = "role_arn = arn:aws:iam::111122223333:role/r\nsource_profile = q\n[profile q]\n" if by_way_of_a_role else ""
    text = f"[profile p]\n{role}credential_process = {helper(tmp_path, script)} --token {SECRET}\n"
    assert f"credential process '{tmp_path}/helper.sh' of profile {'q' if role else 'p'}: " in refusal(configured(text))
    assert says in refusal(configured(text))


@pytest.mark.parametrize(
    ("command", "says"), [("/nonexistent/helper", "No such file or directory"), ("/etc/passwd", "Permission denied")]
)
def test_a_credential_process_that_cannot_be_started_is_told_apart(
    configured: Callable[[str], Chain], command: str, says: str
) -> None:
    """Missing, or not executable."""
    assert says in refusal(configured(f"[profile p]\ncredential_process = {command}\n"))


def test_a_credential_process_that_hangs_is_ended(
    configured: Callable[[str], Chain], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what it has started, which holds its output open."""
    monkeypatch.setattr(providers, "HELPER_TIMEOUT", 0.2)
    chain = configured(f"[profile p]\ncredential_process = {helper(tmp_path, 'sleep 60')}\n")
    began = time.monotonic()
    assert "did not end within" in refusal(chain)
    assert time.monotonic() - began < 30


def test_a_credential_process_gives_credentials(configured: Callable[[str], Chain], tmp_path: Path) -> None:
    """As long as it does what it should."""
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
    """With who could not give credentials."""
    assert says in refusal(configured(text))


def test_who_failed_is_named_in_its_own_words() -> None:
    """STS and SSO with code and message, not the service that was to be asked."""
    for operation, who in (("AssumeRoleWithWebIdentity", "STS"), ("AssumeRole", "STS"), ("GetRoleCredentials", "SSO")):
        giver = Giver()
        response: Any = {"Error": {"Code": "InvalidIdentityToken", "Message": "no\nprovider"}}
        giver.error = ClientError(response, operation)
        with pytest.raises(ConfigurationError, match=f"{who} refuses {operation}: InvalidIdentityToken: no provider"):
            SharedCredentials(giver, giver.clock).get_frozen_credentials()


@pytest.mark.parametrize(
    ("code", "status", "says"),
    [
        ("Throttling", 400, "STS throttles AssumeRole: Throttling: no provider"),
        ("RequestLimitExceeded", 503, "STS throttles AssumeRole: RequestLimitExceeded"),
        ("InternalFailure", 500, "STS does not answer AssumeRole: InternalFailure"),
        ("ServiceUnavailable", 503, "STS does not answer AssumeRole: ServiceUnavailable"),
        ("502", 502, "STS does not answer AssumeRole: HTTP 502"),
    ],
)
def test_a_service_that_may_give_them_soon_is_told_apart_and_retried(code: str, status: int, says: str) -> None:
    """It refuses nothing."""
    giver = Giver()
    metadata: Any = {"HTTPStatusCode": status}
    giver.error = ClientError(
        {"Error": {"Code": code, "Message": "no provider"}, "ResponseMetadata": metadata}, "AssumeRole"
    )
    with pytest.raises(CredentialsUnavailable, match=says):
        SharedCredentials(giver, giver.clock).get_frozen_credentials()
