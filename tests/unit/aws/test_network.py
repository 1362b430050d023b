"""Tell apart the failures of real sockets, certificates and proxies, and say what to do."""

import datetime
import functools
import ipaddress
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from consumer.aws.network import host_of
from consumer.errors import ConfigurationError, ConsumerError, StreamUnavailable
from consumer.streams.kinesis import KinesisStream, kinesis_client
from tests.servers.connections import Serve, serving

SECRET = "hush"
NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def certificate(directory: Path, name: str, start: datetime.datetime, end: datetime.datetime) -> Path:
    """Write a key with a self-signed certificate for an address or a host name. Return the file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    other = x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName([other]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = directory / f"{name}.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve one connection on loopback with a function. Return the port."""
    with serving() as start:
        yield start


def shakes_hands(file: Path, accepted: socket.socket) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    with context.wrap_socket(accepted, server_side=True):
        pass


def says(text: bytes, accepted: socket.socket) -> None:
    accepted.recv(65536)
    accepted.sendall(text)


def told(endpoint: str, kind: type[ConsumerError]) -> str:
    """Return the error message for a stream at that endpoint."""
    client = kinesis_client("calls", "us-east-1", endpoint, 1)
    with pytest.raises(kind) as caught:
        KinesisStream("calls", client).summary()
    client.close()
    text = str(caught.value)
    assert SECRET not in text
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("name", "start", "end", "trusted", "message"),
    [
        ("127.0.0.1", NOW - DAY, NOW + DAY, False, "the certificate is not trusted (self-signed certificate)"),
        ("127.0.0.1", NOW - 2 * DAY, NOW - DAY, True, "the certificate has expired"),
        ("127.0.0.1", NOW + DAY, NOW + 2 * DAY, True, "the certificate is not valid yet"),
        ("127.0.0.2", NOW - DAY, NOW + DAY, True, "the certificate is for another host name"),
        ("other.example", NOW - DAY, NOW + DAY, True, "the certificate is for another host name"),
    ],
)
def test_each_problem_of_a_certificate_has_its_own_message(
    serve: Serve,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    start: datetime.datetime,
    end: datetime.datetime,
    trusted: bool,
    message: str,
) -> None:
    """Waiting does not help, so it ends the start at once."""
    file = certificate(tmp_path, name, start, end)
    if trusted:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(file))
    port = serve(functools.partial(shakes_hands, file))
    text = told(f"https://127.0.0.1:{port}", ConfigurationError)
    assert f"at https://127.0.0.1:{port}: DescribeStreamSummary: SSLError: {message}" in text


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
@pytest.mark.parametrize(
    ("bundle", "message"),
    [
        ("missing.pem", "cannot read the CA bundle: No such file or directory"),
        ("directory", "CA bundle"),
        ("text.pem", "the CA bundle holds no certificate in PEM format"),
        ("damaged.pem", "the CA bundle holds a certificate that cannot be read"),
        ("empty.pem", "the CA bundle holds no certificate in PEM format"),
    ],
)
def test_an_unusable_ca_bundle_is_named(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, bundle: str, message: str
) -> None:
    """The message has its path and the variables that may set it."""
    (tmp_path / "directory").mkdir()
    (tmp_path / "text.pem").write_text("no certificate")
    (tmp_path / "empty.pem").write_text("")
    (tmp_path / "damaged.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    monkeypatch.setenv(variable, str(tmp_path / bundle))
    port = serve(functools.partial(shakes_hands, certificate(tmp_path, "127.0.0.1", NOW - DAY, NOW + DAY)))
    text = told(f"https://127.0.0.1:{port}", (ConfigurationError if bundle != "directory" else ConsumerError))
    assert message in text
    assert str(tmp_path / bundle) in text
    assert variable in text


def test_a_host_without_tls_is_reported(serve: Serve) -> None:
    """An emulator whose endpoint is http behaves like this."""
    port = serve(functools.partial(says, b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    assert "does not speak TLS: begin the endpoint with http://" in told(
        f"https://127.0.0.1:{port}", ConfigurationError
    )


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"", "the connection was closed without a response"),
        (b"SSH-2.0-OpenSSH\r\n", "the response is not HTTP: begin the endpoint with https://"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{", "the response was cut off"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", "the response is incomplete"),
    ],
)
def test_an_invalid_response_is_reported_and_retried(serve: Serve, answer: bytes, message: str) -> None:
    """The message says what arrived."""
    port = serve(functools.partial(says, answer))
    text = told(f"http://127.0.0.1:{port}", StreamUnavailable)
    assert message in text


def test_a_refused_connection_and_an_unknown_host_ask_whether_it_is_running() -> None:
    """Both name the host."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    refused = told(f"http://127.0.0.1:{port}", StreamUnavailable)
    assert f"does not respond at http://127.0.0.1:{port}" in refused
    assert "connection refused: check that it is running" in refused
    unknown = told("http://no-such-host.invalid:4566", StreamUnavailable)
    assert "at http://no-such-host.invalid:4566" in unknown
    assert "unknown host: check its name, and that it is running" in unknown


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (
            b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
            ConfigurationError,
            "requires a user and a password",
        ),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", StreamUnavailable, "rejects the connection (403 Forbidden)"),
    ],
)
def test_a_proxy_is_named_without_its_password(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, answer: bytes, kind: type[ConsumerError], message: str
) -> None:
    """The password is part of HTTPS_PROXY."""
    port = serve(functools.partial(says, answer))
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:{SECRET}@127.0.0.1:{port}")
    text = told("https://kinesis.invalid", kind)
    assert message in text
    assert f"the proxy http://127.0.0.1:{port} " in text
    assert "HTTPS_PROXY" in text


def test_an_unreachable_proxy_differs_from_an_unreachable_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the variables that set the proxy."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:{SECRET}@127.0.0.1:9")
    text = told("https://kinesis.invalid", StreamUnavailable)
    assert "the proxy http://127.0.0.1:9 does not respond: connection refused" in text


def test_an_unsupported_proxy_scheme_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore would take socks5://… for an unknown host name."""
    monkeypatch.setenv("HTTPS_PROXY", f"socks5://user:{SECRET}@127.0.0.1:9")
    assert "not an http:// or https:// URL" in told("https://kinesis.invalid", StreamUnavailable)


def test_an_unusable_response_is_reported_with_its_host(serve: Serve) -> None:
    """A gateway may have sent it."""
    port = serve(functools.partial(says, b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>"))
    text = told(f"http://127.0.0.1:{port}", StreamUnavailable)
    assert text.endswith(f"DescribeStreamSummary: the response is not JSON at http://127.0.0.1:{port}")


def test_a_host_is_named_without_user_path_and_query() -> None:
    """They may contain secrets."""
    assert host_of(f"https://user:{SECRET}@host:1/path?token={SECRET}") == "https://host:1"
    assert SECRET not in host_of(f"//user:{SECRET}@host:1")
