"""What an error of botocore's says, in one line: the party that failed, its code, its own words, and what to do."""

import re
from typing import NamedTuple

from botocore import exceptions as raised
from botocore.exceptions import BotoCoreError, ClientError

from consumer.aws.codes import ADVICE, is_transient
from consumer.aws.network import host_of, why
from consumer.errors import where

MOST_WORDS = 600  # characters of a service's message that are shown
# What follows holds the request's signed headers, a session token among them.
SIGNED = re.compile(r"\s*The Canonical String for this request.*", re.DOTALL)
NO_CREDENTIALS = (
    "no AWS credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; on a machine of AWS, attach a"
    " role (containers on EC2 reach its metadata service with a hop limit of 2)"
)
CUT_OFF = (raised.ReadTimeoutError, raised.ResponseStreamingError, raised.ConnectionClosedError)
TOO_SLOW = (408, 413, 504)  # said by proxies: the response was too slow, or too large for them
URL = re.compile(r"https?://[^\s\"']+")
# The variable whose value an error of botocore's shows.
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
    """Why a call failed. `lasting`: waiting will not mend it. `code` is the service's, or "".

    `cut_off`: the response was too slow or too large for somebody on its way. `odd`: it could not be understood.
    """

    words: str
    lasting: bool
    code: str = ""
    cut_off: bool = False
    odd: bool = False


def code_of(error: ClientError) -> str:
    """Return the service's name for what went wrong."""
    return str(error.response.get("Error", {}).get("Code") or "unknown")


def status_of(error: ClientError) -> int:
    """Return the response's HTTP status; 0 when it is not known."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)


def reason(error: Exception) -> Reason:
    """Say why a call failed, whatever was raised."""
    if isinstance(error, ClientError):
        return _of_a_service(error)
    if isinstance(error, raised.ConnectionError | raised.HTTPClientError):
        return Reason(_of_the_network(error), lasting=_is_a_mistake(error), cut_off=isinstance(error, CUT_OFF))
    if isinstance(error, raised.CredentialRetrievalError | raised.MetadataRetrievalError):
        return _of_a_giver(str(error.kwargs.get("error_msg", "")))
    if isinstance(error, BotoCoreError):
        return Reason(own_words(error), lasting=True)
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return Reason(f"{error.filename}: {error.strerror}", lasting=True)  # a file that the configuration names
    return Reason(f"the response is odd: {type(error).__name__} ({where(error)})", lasting=False, odd=True)


def own_words(error: Exception) -> str:
    """Return all lines of a message of botocore's own as one, with what to do where that is known."""
    name = type(error).__name__
    if isinstance(error, raised.ProfileNotFound):
        return f"AWS profile {error.kwargs.get('profile')!r} (AWS_PROFILE): it is not in ~/.aws/config or credentials"
    if isinstance(error, raised.SSOTokenLoadError | raised.TokenRetrievalError):
        return f"{one_line(str(error)).rstrip('.')}: run aws sso login"
    if isinstance(error, raised.ConfigParseError):
        return f"AWS config file {error.kwargs.get('path')}: it cannot be parsed"
    if isinstance(error, raised.InvalidRegionError):
        region = error.kwargs.get("region_name")
        return f"AWS region {region!r} (--region, AWS_REGION, AWS_DEFAULT_REGION): it is no region's name"
    return OWN.get(name, f"{VARIABLES.get(name, 'AWS')}: {one_line(str(error))}")


def one_line(text: str) -> str:
    """Return a message as one line of bounded length, without the request that some services repeat in it."""
    words = " ".join(SIGNED.sub("", text).split())
    return words if len(words) <= MOST_WORDS else f"{words[:MOST_WORDS]}…"


def _of_a_service(error: ClientError) -> Reason:
    code, status = code_of(error), status_of(error)
    said = str(error.response.get("Error", {}).get("Message") or "")
    if code.isdigit() or code == "unknown":
        return Reason(_without_code(status, code), not is_transient(code, status), code, status in TOO_SLOW)
    parts = [code, one_line(said) if not said.lstrip().startswith("<") else "", ADVICE.get(code, "")]
    return Reason(": ".join(part.rstrip(". ") for part in parts if part), not is_transient(code, status), code)


def _without_code(status: int, code: str) -> str:
    """Nothing of the body is shown: a gateway's page may hold addresses and names."""
    number = status or code
    if str(number) == "407":
        return "the proxy wants a user and a password (407): put them into HTTP_PROXY or HTTPS_PROXY"
    if 300 <= status < 400:
        return f"HTTP {number}: the response leads elsewhere: is the endpoint right?"
    return f"HTTP {number} without an error code of AWS: did a proxy or gateway answer?"


def _of_a_giver(said: str) -> Reason:
    """What a credentials endpoint on this machine answers; not its body, which may hold a secret."""
    if found := re.match(r"(?:Error retrieving metadata: )?Received non 200 response (\d+)", said):
        return Reason(f"HTTP {found[1]}", lasting=not is_transient("", int(found[1])))
    words = one_line(URL.sub(lambda url: host_of(url[0]), said))
    return Reason(words, lasting="container metadata" not in said)


def _of_the_network(error: BotoCoreError) -> str:
    words = why(error, error.kwargs.get("ca_bundle"))
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def _is_a_mistake(error: BotoCoreError) -> bool:
    """A certificate, CA bundle or proxy that has to be changed; a host that is missing may be started yet."""
    if isinstance(error, raised.SSLError):
        return "TLS failed" not in why(error)
    return isinstance(error, raised.ProxyConnectionError) and "(407)" in why(error)


def asked_host(error: Exception, otherwise: str) -> str:
    """Return the host that was really asked: endpoints of an account differ from the client's."""
    url = getattr(error, "kwargs", {}).get("endpoint_url")
    if isinstance(error, ClientError):
        url = error.response.get("ResponseMetadata", {}).get("AskedUrl")
    return host_of(str(url or otherwise))
