"""Load AWS credentials from botocore's chain of providers, one by one, so that messages can name the source."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
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

from consumer.aws.credential_process import CredentialProcess
from consumer.aws.metadata import CONTAINER, INSTANCE, ContainerMetadata, InstanceMetadata
from consumer.aws.reasons import one_line
from consumer.aws.variables import bad_variable
from consumer.errors import ConfigurationError, CredentialsUnavailable

SESSION_NAME = "call-consumer"  # CloudTrail shows it for an assumed role
UNBALANCED = ("No closing quotation", "No escaped character")  # errors of shlex about a command
# The source for messages, by the provider's name in botocore.
SOURCES = {
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


class Loaded(NamedTuple):
    """Credentials and when they expire; None means never. `fixed`: they never change while the process runs."""

    keys: ReadOnlyCredentials
    expires: datetime | None
    fixed: bool = False


class Chain:
    """Load credentials from the same sources as botocore, in the same order. `asking`: the source that is asked now."""

    def __init__(self, session: Any, region: str | None) -> None:
        self._session, self._region = session, region
        self._found_at: str | None = None
        self.asking = "AWS credentials"

    def __call__(self) -> Loaded | None:
        """Ask each provider; return None if no provider has credentials.

        Create a new chain each time, because providers answer from a cache.

        Raises:
            CredentialsUnavailable: a source that may work later failed.
            ConfigurationError: a source is configured in a way that cannot work.
        """
        if (problem := bad_variable(self._session)) is not None:
            raise ConfigurationError(problem)
        for provider in _resolver(self._session, self._region, self._note).providers:
            self.asking = SOURCES.get(str(provider.METHOD), str(provider.METHOD))
            if (found := _load(provider)) is not None:
                self._found_at = self.asking
                return _loaded(found, fixed=provider.METHOD == "env")
        if self._found_at is not None:
            raise CredentialsUnavailable(f"{self._found_at} gives no credentials now")
        return None

    def _note(self, asking: str) -> None:
        self.asking = asking


def _load(provider: CredentialProvider) -> Credentials | None:
    try:
        found: Credentials | None = provider.load()
    except UnicodeDecodeError:
        raise ConfigurationError(
            f"AWS credentials: {SOURCES.get(str(provider.METHOD))}: its file is not UTF-8 text"
        ) from None
    except ValueError as error:
        if str(error) in UNBALANCED:
            words = str(error).lower()
            raise ConfigurationError(f"AWS credentials: the profile's credential_process: {words}") from None
        if type(error) is not ValueError or provider.METHOD != "container-role":
            raise
        # A variable AWS_CONTAINER_… holds an invalid host or token. The text does not contain the token.
        raise ConfigurationError(f"AWS credentials: {CONTAINER}: {one_line(str(error))}") from None
    return found


class Role:
    """Load the credentials of a role by assuming it with the credentials of `source`."""

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
    """Take a snapshot, because botocore's object would ask its source again, and wait, shortly before the expiry."""
    keys = getattr(found, "_frozen_credentials", None) or found.get_frozen_credentials()
    return Loaded(keys, getattr(found, "_expiry_time", None), fixed)


def _resolver(session: Any, region: str | None, tell: Callable[[str], None]) -> CredentialResolver:
    """Return botocore's chain, with our providers for credential processes and metadata services."""
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
        "the AWS profile wants an MFA code, and this process cannot ask for one: export the credentials of a session"
        " first (aws configure export-credentials)"
    )


class _Profiles(ProfileProviderBuilder):
    """Build the providers of a profile, and of a profile that another one names as its source."""

    def __init__(self, session: Any, region: str | None, tell: Callable[[str], None]) -> None:
        super().__init__(session, cache={}, region_name=region)
        self._tell = tell
        self._config = lambda: session.full_config

    def process(self, profile: str) -> ProcessProvider:
        """Return the provider of a profile's credential_process."""
        return ProcessProvider(profile, self._config, popen=partial(CredentialProcess, self._tell, profile))

    def _create_process_provider(self, profile_name: str) -> ProcessProvider:
        return self.process(profile_name)


def now() -> datetime:
    """Return the time that expiry times are compared with."""
    return datetime.now(UTC)
