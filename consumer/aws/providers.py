"""botocore's chain of places where credentials come from, asked one after the other, so that it is known who failed."""

import json
import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from subprocess import DEVNULL, PIPE
from typing import Any, NamedTuple, NoReturn

from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    AssumeRoleProvider,
    CanonicalNameCredentialSourcer,
    CredentialProvider,
    CredentialResolver,
    Credentials,
    ProcessProvider,
    ProfileProviderBuilder,
    ReadOnlyCredentials,
    create_credential_resolver,
)

from consumer.aws.metadata import CONTAINER, INSTANCE, ContainerMetadata, InstanceMetadata
from consumer.aws.reasons import one_line
from consumer.aws.variables import bad_variable
from consumer.errors import ConfigurationError, CredentialsUnavailable

HELPER_TIMEOUT = 60.0  # for a credential process, seconds; one that asks a person takes longer than any service
SESSION_NAME = "call-consumer"  # what CloudTrail shows of an assumed role
UNBALANCED = ("No closing quotation", "No escaped character")  # what shlex says of a command
PARTIES = {
    "env": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "assume-role": "the role of the profile",
    "assume-role-with-web-identity": "the role of the web identity",
    "sso": "SSO",
    "login": "aws login",
    "shared-credentials-file": "the credentials file",
    "config-file": "the config file",
    "custom-process": "the credential process",
    "container-role": CONTAINER,
    "iam-role": INSTANCE,
}


Tell = Callable[[str], None]


class Loaded(NamedTuple):
    """Credentials, and until when they are good; None: they do not expire."""

    keys: ReadOnlyCredentials
    expires: datetime | None
    fixed: bool = False  # given for the life of the process


class Chain:
    """Loads credentials as botocore finds them. `asking` is who is being asked."""

    def __init__(self, session: Any, region: str | None) -> None:
        self._session, self._region = session, region
        self._found_at: str | None = None
        self.asking = "AWS credentials"

    def __call__(self) -> Loaded | None:
        """Ask each provider; None: none of them has any. A new chain each time: an old one answers from its cache."""
        if (problem := bad_variable(self._session)) is not None:
            raise ConfigurationError(problem)
        for provider in _resolver(self._session, self._region, self._say).providers:
            self.asking = PARTIES.get(str(provider.METHOD), str(provider.METHOD))
            if (found := _asked(provider)) is not None:
                self._found_at = self.asking
                return _loaded(found, fixed=provider.METHOD == "env")
        if self._found_at is not None:
            raise CredentialsUnavailable(f"{self._found_at} gives none out now")
        return None

    def _say(self, asking: str) -> None:
        self.asking = asking


def _asked(provider: CredentialProvider) -> Credentials | None:
    try:
        found: Credentials | None = provider.load()
    except UnicodeDecodeError:
        raise ConfigurationError(
            f"AWS credentials: {PARTIES.get(str(provider.METHOD))}: its file is not UTF-8 text"
        ) from None
    except ValueError as error:
        if str(error) in UNBALANCED:
            words = str(error).lower()
            raise ConfigurationError(f"AWS credentials: the profile's credential_process: {words}") from None
        if type(error) is not ValueError or provider.METHOD != "container-role":
            raise
        # AWS_CONTAINER_… hold a host or a token that cannot be used; the text shows no token.
        raise ConfigurationError(f"AWS credentials: {PARTIES['container-role']}: {one_line(str(error))}") from None
    return found


class Role:
    """Loads the credentials of a role that is assumed with others."""

    def __init__(self, session: Any, arn: str, region: str | None, source: Credentials) -> None:
        self._session, self._arn, self._region, self._source = session, arn, region, source
        self.asking = f"STS for {arn}"

    def __call__(self) -> Loaded:
        make = partial(self._session.create_client, region_name=self._region)
        fetcher = AssumeRoleCredentialFetcher(make, self._source, self._arn, {"RoleSessionName": SESSION_NAME})
        found = fetcher.fetch_credentials()
        keys = ReadOnlyCredentials(found["access_key"], found["secret_key"], found["token"], found.get("account_id"))
        return Loaded(keys, datetime.fromisoformat(found["expiry_time"]))


def _loaded(found: Credentials, fixed: bool) -> Loaded:
    """Take a snapshot: botocore's own object would ask again, and wait, whenever it is looked at near its end."""
    keys = getattr(found, "_frozen_credentials", None) or found.get_frozen_credentials()
    return Loaded(keys, getattr(found, "_expiry_time", None), fixed)


def _resolver(session: Any, region: str | None, tell: Tell) -> CredentialResolver:
    """botocore's chain, with credential processes that end in time and whose output is never shown."""
    made = create_credential_resolver(session, region_name=region)
    _replace(made, ContainerMetadata(made.get_provider("container-role")))
    _replace(made, InstanceMetadata(made.get_provider("iam-role")))
    profile = session.get_config_variable("profile") or "default"
    builder = _Profiles(session, region, tell)
    sources = [provider for provider in made.providers if provider.METHOD in ("env", "container-role", "iam-role")]
    assume = AssumeRoleProvider(
        load_config=lambda: session.full_config,
        client_creator=partial(session.create_client, region_name=region),
        cache={},
        profile_name=profile,
        prompter=_no_prompt,
        credential_sourcer=CanonicalNameCredentialSourcer(sources),
        profile_provider_builder=builder,
    )
    _replace(made, assume)
    _replace(made, builder.process(profile))
    return made


def _replace(resolver: CredentialResolver, mine: CredentialProvider) -> None:
    resolver.providers = [mine if each.METHOD == mine.METHOD else each for each in resolver.providers]


def _no_prompt(_text: str) -> NoReturn:
    raise ConfigurationError(
        "the AWS profile wants an MFA code, which nobody can type here: export the credentials of a session first"
        " (aws configure export-credentials)"
    )


class _Profiles(ProfileProviderBuilder):
    """Builds the providers of a profile, of one that another names as its source too."""

    def __init__(self, session: Any, region: str | None, tell: Tell) -> None:
        super().__init__(session, cache={}, region_name=region)
        self._tell = tell
        self._config = lambda: session.full_config

    def process(self, profile: str) -> ProcessProvider:
        """The provider of a profile's credential_process."""
        return ProcessProvider(profile, self._config, popen=partial(_Helper, self._tell, profile))

    def _create_process_provider(self, profile_name: str) -> ProcessProvider:
        return self.process(profile_name)


class _Helper:
    """A credential process. What it prints may hold secrets, so it is known by its command and exit status only."""

    def __init__(self, tell: Tell, profile: str, command: list[str], **_: object) -> None:
        self._name = f"credential process {command[0] if command else ''!r} of profile {profile}"
        tell(self._name)
        try:
            self._process = subprocess.Popen(command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, start_new_session=True)
        except (OSError, ValueError, IndexError) as error:
            raise ConfigurationError(f"{self._name}: {getattr(error, 'strerror', None) or 'no command'}") from None
        self.returncode = 0

    def communicate(self) -> tuple[bytes, bytes]:
        """Wait for its credentials, which botocore reads."""
        try:
            printed, _ = self._process.communicate(timeout=HELPER_TIMEOUT)
        except subprocess.TimeoutExpired:
            with suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            for pipe in filter(None, (self._process.stdout, self._process.stderr)):
                pipe.close()  # without a look at it: what the process has started may hold it open
            raise CredentialsUnavailable(f"{self._name}: it did not end within {HELPER_TIMEOUT:.0f} s") from None
        if status := self._process.returncode:
            ended = f"exit status {status}" if status > 0 else f"killed by signal {-status}"
            raise ConfigurationError(f"{self._name}: {ended}")
        self._check(printed)
        return printed, b""

    def _check(self, printed: bytes) -> None:
        try:
            found = json.loads(printed)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise ConfigurationError(f"{self._name}: what it prints is not a JSON object")
        missing = [name for name in ("AccessKeyId", "SecretAccessKey") if not isinstance(found.get(name), str)]
        if missing or found.get("Version") != 1:
            raise ConfigurationError(f"{self._name}: what it prints lacks {', '.join(missing) or 'Version 1'}")
        if not isinstance(found.get("SessionToken", ""), str | None):
            raise ConfigurationError(f"{self._name}: its SessionToken is no text")
        _check_instant(self._name, found.get("Expiration"))


def _check_instant(name: str, value: object) -> None:
    if value is not None:
        try:
            zone = datetime.fromisoformat(str(value)).tzinfo
        except ValueError:
            raise ConfigurationError(f"{name}: its Expiration is no ISO 8601 time") from None
        if zone is None:
            raise ConfigurationError(f"{name}: its Expiration has no time zone")


def now() -> datetime:
    """The time by which credentials expire."""
    return datetime.now(UTC)
