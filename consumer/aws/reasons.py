"""Describe an error of botocore in one line: its code, its message, and what to do."""

import re
from typing import NamedTuple

from botocore import exceptions as raised
from botocore.exceptions import BotoCoreError, ClientError

from consumer.aws.codes import ADVICE, is_transient
from consumer.aws.network import host_of, why
from consumer.errors import where

MOST_WORDS = 600  # characters of a service's message that are shown
# The text after this contains the signed headers of the request, for example a session token.
SIGNED = re.compile(r"\s*The Canonical String for this request.*", re.DOTALL)
NO_CREDENTIALS = (
    "no AWS credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; on a machine of AWS, attach a"
    " role (containers on EC2 reach its metadata service with a hop limit of 2)"
)
CUT_OFF = (raised.ReadTimeoutError, raised.ResponseStreamingError, raised.ConnectionClosedError)
TOO_SLOW = (408, 413, 504)  # HTTP statuses of proxies for a response that was too slow or too large
URL = re.compile(r"https?://[^\s\"']+")
# The environment variable with the invalid value, by the class of botocore's error.
VARIABLES = {
    "InvalidRetryModeError": "AWS_RETRY_MODE",
    "InvalidMaxRetryAttemptsError": "AWS_MAX_ATTEMPTS",
    "InvalidSTSRegionalEndpointsConfigError": "AWS_STS_REGIONAL_ENDPOINTS",
    "InvalidDefaultsMode": "AWS_DEFAULTS_MODE",
    "InvalidIMDSEndpointError": "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "InvalidIMDSEndpointModeError": "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
    "InvalidChecksumConfigError": "AWS_REQUEST_CHECKSUM_CALCULATION or AWS_RESPONSE_CHECKSUM_VALIDATION",
}
OWN = {
    "NoCredentialsError": NO_CREDENTIALS,
    "NoRegionError": "no AWS region: give --region, AWS_REGION, or the stream's ARN",
    "UnauthorizedSSOTokenError": "the SSO session has expired or is not valid: run aws sso login",
}


class Reason(NamedTuple):
    """Why a call failed. `lasting`: a later call will fail too. `code`: the service's error code, or "".

    `cut_off`: the response was too slow or too large. `malformed`: the response could not be parsed.
    """

    words: str
    lasting: bool
    code: str = ""
    cut_off: bool = False
    malformed: bool = False


def code_of(error: ClientError) -> str:
    """Return the service's error code, or "unknown"."""
    return str(error.response.get("Error", {}).get("Code") or "unknown")


def status_of(error: ClientError) -> int:
    """Return the response's HTTP status, or 0 if it is unknown."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)


def reason(error: Exception) -> Reason:
    """Return why a call failed, for any error."""
    if isinstance(error, ClientError):
        return _service_reason(error)
    if isinstance(error, raised.ConnectionError | raised.HTTPClientError):
        return Reason(_network_words(error), lasting=_needs_a_change(error), cut_off=isinstance(error, CUT_OFF))
    if isinstance(error, raised.CredentialRetrievalError | raised.MetadataRetrievalError):
        return _endpoint_reason(str(error.kwargs.get("error_msg", "")))
    if isinstance(error, BotoCoreError):
        return Reason(message_of(error), lasting=True)
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return Reason(f"{error.filename}: {error.strerror}", lasting=True)  # a file that the configuration names
    words = f"the response is malformed: {type(error).__name__} ({where(error)})"
    return Reason(words, lasting=False, malformed=True)


def message_of(error: Exception) -> str:
    """Return botocore's message as one line, with advice where there is some."""
    name = type(error).__name__
    if isinstance(error, raised.ProfileNotFound):
        return f"AWS profile {error.kwargs.get('profile')!r} (AWS_PROFILE): it is not in ~/.aws/config or credentials"
    if isinstance(error, raised.SSOTokenLoadError | raised.TokenRetrievalError):
        return f"{one_line(str(error)).rstrip('.')}: run aws sso login"
    if isinstance(error, raised.ConfigParseError):
        return f"AWS config file {error.kwargs.get('path')}: it cannot be parsed"
    if isinstance(error, raised.InvalidRegionError):
        region = error.kwargs.get("region_name")
        return f"AWS region {region!r} (--region, AWS_REGION, AWS_DEFAULT_REGION): it is not the name of a region"
    return OWN.get(name, f"{VARIABLES.get(name, 'AWS')}: {one_line(str(error))}")


def one_line(text: str) -> str:
    """Return a message as one line of bounded length, without the signed request that some services repeat."""
    words = " ".join(SIGNED.sub("", text).split())
    return words if len(words) <= MOST_WORDS else f"{words[:MOST_WORDS]}…"


def _service_reason(error: ClientError) -> Reason:
    code, status = code_of(error), status_of(error)
    said = str(error.response.get("Error", {}).get("Message") or "")
    if code.isdigit() or code == "unknown":
        return Reason(_status_words(status, code), not is_transient(code, status), code, status in TOO_SLOW)
    parts = [code, one_line(said) if not said.lstrip().startswith("<") else "", ADVICE.get(code, "")]
    return Reason(": ".join(part.rstrip(". ") for part in parts if part), not is_transient(code, status), code)


def _status_words(status: int, code: str) -> str:
    """Describe an HTTP status. The body is not shown, because the page of a gateway may contain addresses and names."""
    number = status or code
    if str(number) == "407":
        return "the proxy requires a user and a password (407): put them into HTTP_PROXY or HTTPS_PROXY"
    if 300 <= status < 400:
        return f"HTTP {number}: the response is a redirect: is the endpoint right?"
    return f"HTTP {number} without an error code of AWS: did a proxy or gateway answer?"


def _endpoint_reason(said: str) -> Reason:
    """Describe a failure of a credentials endpoint on this machine, without its body, which may contain a secret."""
    if found := re.match(r"(?:Error retrieving metadata: )?Received non 200 response (\d+)", said):
        return Reason(f"HTTP {found[1]}", lasting=not is_transient("", int(found[1])))
    words = one_line(URL.sub(lambda url: host_of(url[0]), said))
    return Reason(words, lasting="container metadata" not in said)


def _network_words(error: BotoCoreError) -> str:
    words = why(error, error.kwargs.get("ca_bundle"))
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def _needs_a_change(error: BotoCoreError) -> bool:
    """Return whether a certificate, CA bundle or proxy has to be changed. A missing host may still start."""
    if isinstance(error, raised.SSLError):
        return "TLS failed" not in why(error)
    return isinstance(error, raised.ProxyConnectionError) and "(407)" in why(error)


def requested_host(error: Exception, otherwise: str) -> str:
    """Return the host that was asked, because account endpoints differ from the client's endpoint."""
    url = getattr(error, "kwargs", {}).get("endpoint_url")
    if isinstance(error, ClientError):
        url = error.response.get("ResponseMetadata", {}).get("AskedUrl")
    return host_of(str(url or otherwise))
