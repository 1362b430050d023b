"""`s3://BUCKET/PREFIX`: Amazon S3, and stores that speak its protocol.

botocore finds credentials, region and endpoint, as for the other AWS clients. obstore only gets the result.
"""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from botocore.configprovider import ConfiguredEndpointProvider

from consumer.aws.access import Access, Accesses, check_endpoint
from consumer.aws.codes import STALE
from consumer.aws.credentials import SharedCredentials
from consumer.errors import ConfigurationError, ConsumerError
from consumer.setting_values import AccountId, Endpoint, Region, RoleArn
from consumer.sinks import SinkSchema
from consumer.sinks.objects.failures import Failure
from consumer.sinks.objects.formats import chosen, formats_of
from consumer.sinks.objects.options import TaggedOptions, bucket_and_prefix, named
from consumer.sinks.objects.remote import NO_RETRIES, RemoteStore, Service, client_options, configuring
from consumer.sinks.objects.sink import ObjectsSink
from consumer.urls import Url

if TYPE_CHECKING:
    from obstore.store import S3Config, S3Credential, S3Store

ANY_REGION = "us-east-1"  # for stores with an endpoint but without regions; they only compare signatures
OTHER_REGION = "is the bucket in another region? Say it: ?region=REGION"
ADVICE = {
    "NoSuchBucket": "create the bucket, or name another",
    "AccessDenied": "the credentials need s3:PutObject, s3:GetObject, s3:ListBucket, and the key of the bucket",
    "AuthorizationHeaderMalformed": OTHER_REGION,
    "PermanentRedirect": OTHER_REGION,
    "InvalidAccessKeyId": "the credentials are not valid",
    "SignatureDoesNotMatch": "the credentials are not valid, or this machine's clock is wrong",
    "RequestTimeTooSkewed": "set this machine's clock",
    "HEAD 403": "the credentials need s3:GetObject and s3:ListBucket, to see which objects are there",
    "HEAD 400": OTHER_REGION,
    "HEAD 301": OTHER_REGION,
}
REJECTED = STALE | {"InvalidAccessKeyId", "InvalidToken", "TokenRefreshRequired"}


class Options(TaggedOptions):
    """Where the bucket is, who writes, and how S3 stores the objects."""

    endpoint_url: Endpoint = None
    region: Region = None
    path_style: bool | None = None
    role_arn: RoleArn = ""
    expected_bucket_owner: AccountId = ""
    sse: Literal["", "AES256", "aws:kms", "aws:kms:dsse"] = ""
    sse_kms_key_id: str = ""
    sse_bucket_key: bool | None = None


def connect(url: Url, options: Options, contents: SinkSchema, accesses: Accesses | None = None) -> ObjectsSink:
    """Return the sink for a URL. No service is asked yet.

    Raises:
        ConfigurationError: the URL, an option or the configuration of AWS is wrong, or a library is missing.
    """
    label, (bucket, prefix) = f"{url.label} s3", bucket_and_prefix(url)
    suffix, formats = chosen(url.label, options.format, contents), formats_of(contents)
    accesses = accesses or Accesses()
    access = accesses.of(options.role_arn)
    keys = _Keys(access.credentials)
    with configuring(label):
        address = _address(label, bucket, options, accesses)
        store = _store(bucket, prefix, options, address, _bundle(label, access), keys)
    service = Service(named(url, bucket, prefix), address.url, ADVICE, keys.failed)
    return ObjectsSink(RemoteStore(store, service, formats[suffix].content_type, options.tags), formats, suffix)


class _Address(NamedTuple):
    """Where requests go. Without path style, `url` contains the bucket, as obstore expects it."""

    url: str
    region: str
    path_style: bool


def _address(label: str, bucket: str, options: Options, accesses: Accesses) -> _Address:
    access = accesses.of(options.role_arn)
    endpoint = options.endpoint_url or accesses.endpoint_url or _configured_endpoint(access)
    region = options.region or accesses.region or access.session.get_config_variable("region")
    if region is None and endpoint is None:
        raise ConfigurationError(f"{label}: no AWS region: say ?region=REGION, or give --region or AWS_REGION")
    region = region or ANY_REGION
    path_style = options.path_style
    if path_style is None:
        path_style = endpoint is not None or "." in bucket  # a certificate of AWS covers no bucket name with a dot
    scheme, _, host = (endpoint or _endpoint_of(access, region)).rstrip("/").partition("://")
    return _Address(f"{scheme}://{host}" if path_style else f"{scheme}://{bucket}.{host}", region, path_style)


def _store(
    bucket: str, prefix: str, options: Options, address: _Address, bundle: bytes | None, keys: "_Keys"
) -> "S3Store":
    from obstore.store import S3Store

    config: S3Config = {
        "aws_endpoint_url_s3": address.url,  # and not `endpoint`, over which obstore's environment wins
        "region": address.region,
        "virtual_hosted_style_request": not address.path_style,
        "conditional_put": "etag",
        **_encryption(options),
    }
    owner = {"x-amz-expected-bucket-owner": options.expected_bucket_owner} if options.expected_bucket_owner else {}
    return S3Store(
        bucket,
        prefix=prefix or None,
        config=config,
        client_options=client_options(address.url, owner, bundle),
        retry_config=NO_RETRIES,
        credential_provider=keys,
    )


def _encryption(options: Options) -> "S3Config":
    config: S3Config = {}
    if options.sse or options.sse_kms_key_id:
        config["server_side_encryption"] = options.sse or "aws:kms"
    if options.sse_kms_key_id:
        config["sse_kms_key_id"] = options.sse_kms_key_id
    if options.sse_bucket_key is not None:
        config["sse_bucket_key_enabled"] = options.sse_bucket_key
    return config


def _configured_endpoint(access: Access) -> str | None:
    """Return the endpoint from AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL or the profile."""
    session = access.session
    if session.get_config_variable("ignore_configured_endpoint_urls"):
        return None
    found = ConfiguredEndpointProvider(session.full_config, session.get_scoped_config(), "s3").provide()
    if found:
        check_endpoint("s3", found)
    return str(found) if found else None


def _endpoint_of(access: Access, region: str) -> str:
    """Return the endpoint of a region. In China its domain differs, which obstore does not know."""
    for partition in access.session.get_data("endpoints")["partitions"]:
        if re.fullmatch(partition["regionRegex"], region):
            return f"https://s3.{region}.{partition['dnsSuffix']}"
    return f"https://s3.{region}.amazonaws.com"


def _bundle(label: str, access: Access) -> bytes | None:
    """Return the certificates of AWS_CA_BUNDLE or the profile's ca_bundle."""
    path = access.session.get_config_variable("ca_bundle")
    try:
        return Path(path).read_bytes() if path else None
    except OSError as error:
        raise ConfigurationError(
            f"{label}: cannot read the CA bundle {path} (AWS_CA_BUNDLE): {error.strerror}"
        ) from None


class _Keys:
    """Give obstore the credentials that all AWS clients of the process share, for each request anew."""

    def __init__(self, credentials: SharedCredentials) -> None:
        self._credentials = credentials
        self._trouble: ConsumerError | None = None

    def __call__(self) -> "S3Credential":
        try:
            keys = self._credentials.get_frozen_credentials()
        except ConsumerError as error:
            self._trouble = error
            raise
        return {
            "access_key_id": str(keys.access_key),
            "secret_access_key": str(keys.secret_key),
            "token": keys.token,
            "expires_at": datetime.now(UTC),  # so obstore keeps them for no other request
        }

    def failed(self, failure: Failure) -> ConsumerError | None:
        """Return why there were no credentials. Ask for others if the service rejects these."""
        if failure.code in REJECTED:
            self._credentials.reject()
        return self._trouble if failure.without_credentials else None
