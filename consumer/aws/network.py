"""Say why a request got no response: host name, connection, certificate, CA bundle or proxy, each with advice.

The texts of urllib3 and botocore are not shown, because they may contain headers, signatures and bodies.
"""

import http.client
import socket
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

import urllib3.exceptions as urllib3_errors
from botocore.exceptions import ConnectTimeoutError, ProxyConnectionError, ReadTimeoutError
from urllib3.util.ssl_match_hostname import CertificateError

BUNDLES = "AWS_CA_BUNDLE, REQUESTS_CA_BUNDLE or ca_bundle of the profile"
PROXIES = "check HTTP_PROXY, HTTPS_PROXY and NO_PROXY"
# OpenSSL, X509_V_ERR_…: x509_vfy.h
NOT_YET_VALID, EXPIRED, HOST_MISMATCH, ADDRESS_MISMATCH = 9, 10, 62, 64
OTHER_HOST = "the certificate is for another host name: ask for a name that it holds (--endpoint-url)"
# Reasons of OpenSSL for a CA bundle without a certificate, and for a server that does not use TLS.
NO_PEM = ("NO_CERTIFICATE_OR_CRL_FOUND", "PEM_LIB", "NO_START_LINE", "BAD_BASE64_DECODE", "NOT_ENOUGH_DATA")
NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "UNKNOWN_PROTOCOL")


def host_of(url: str) -> str:
    """Return scheme, host and port of a URL; never its user, password, path or query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.scheme else url.rpartition("@")[2]


def why(error: BaseException, bundle: str | None = None) -> str:
    """Return in a few words why a request got no response, or "". `bundle`: the CA bundle in use, if known."""
    chain = list(causes(error))
    if isinstance(error, ProxyConnectionError):
        return _proxy_problem(str(error.kwargs.get("proxy_url", "")), chain)
    for cause in chain:
        if words := _tls_problem(cause, f"{bundle} ({BUNDLES})" if bundle else BUNDLES) or _connection_problem(cause):
            return words
    return _response_problem(chain)


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and the errors inside it, outermost first."""
    rest: list[BaseException] = [error]
    seen: set[int] = set()
    while rest:
        found = rest.pop(0)
        if id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        inner = [getattr(found, "kwargs", {}).get("error"), *found.args, getattr(found, "reason", None)]
        rest += [cause for cause in (*inner, found.__cause__) if isinstance(cause, BaseException)]


def _tls_problem(cause: BaseException, bundle: str) -> str:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _certificate_problem(cause)
    if isinstance(cause, CertificateError):
        return OTHER_HOST
    if isinstance(cause, ssl.SSLError):
        if "X509] PEM lib" in str(cause):  # Python has no reason code for a damaged certificate
            return f"the CA bundle holds a certificate that cannot be read: {bundle}"
        reason = str(getattr(cause, "reason", None) or "").replace(" ", "_").upper()
        if reason in NO_PEM:
            return f"the CA bundle holds no certificate in PEM format: {bundle}"
        if reason in NO_TLS:
            return "the server does not speak TLS: begin the endpoint with http://"
        return f"TLS failed: {reason.replace('_', ' ').lower() or 'no reason given'}"
    if isinstance(cause, urllib3_errors.SSLError):
        files = [inner for inner in causes(cause) if isinstance(inner, OSError) and not isinstance(inner, ssl.SSLError)]
        return f"cannot read the CA bundle: {files[0].strerror or files[0]}: {bundle}" if files else ""
    return ""


def _certificate_problem(cause: ssl.SSLCertVerificationError) -> str:
    if cause.verify_code in (HOST_MISMATCH, ADDRESS_MISMATCH) or "mismatch" in str(cause.verify_message).lower():
        return OTHER_HOST
    if cause.verify_code == EXPIRED:
        return "the certificate has expired: renew it, or set this machine's clock"
    if cause.verify_code == NOT_YET_VALID:
        return "the certificate is not valid yet: check this machine's clock"
    return f"the certificate is not trusted ({cause.verify_message}): name its CA's PEM file in AWS_CA_BUNDLE"


def _connection_problem(cause: BaseException) -> str:
    if isinstance(cause, socket.gaierror):
        return "unknown host: check its name, and that it is running"
    if isinstance(cause, ConnectionRefusedError):
        return "connection refused: check that it is running"
    if isinstance(cause, ReadTimeoutError | ConnectTimeoutError):
        return "no response in time"
    if isinstance(cause, OSError) and cause.errno and cause.strerror:
        return cause.strerror.lower()
    return ""


def _response_problem(chain: list[BaseException]) -> str:
    for cause in chain:
        if isinstance(cause, urllib3_errors.IncompleteRead | http.client.IncompleteRead):
            return "the response was cut off"
        if isinstance(cause, urllib3_errors.DecodeError):
            return "the response cannot be decompressed"
        if isinstance(cause, http.client.RemoteDisconnected):
            return "the connection was closed without a response"
        if isinstance(cause, http.client.BadStatusLine):
            return "the response is not HTTP: begin the endpoint with https://"
        if isinstance(cause, urllib3_errors.LocationValueError):
            return f"the address of a proxy or a host cannot be parsed: {PROXIES}"
    return type(chain[-1]).__name__ if len(chain) > 1 else ""


def _proxy_problem(url: str, chain: list[BaseException]) -> str:
    if url.count("://") > 1:  # botocore puts http:// before other schemes
        return f"a proxy is not an http:// or https:// URL, and botocore takes no other: {PROXIES}"
    proxy = f"the proxy {host_of(url)}"
    tunnel = next((str(cause) for cause in chain if str(cause).startswith("Tunnel connection failed")), "")
    if " 407" in tunnel:
        return f"{proxy} requires a user and a password (407): put them into HTTPS_PROXY"
    if tunnel:
        return f"{proxy} rejects the connection ({tunnel.partition(': ')[2][:60]}): {PROXIES}"
    words = next(filter(None, map(_connection_problem, chain)), "")
    return f"{proxy} does not respond{': ' if words else ''}{words}; {PROXIES}"
