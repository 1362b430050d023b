"""Parse the URLs of sinks and lease tables."""

from typing import Any

import pytest
from pydantic import BaseModel

from consumer.errors import ConfigurationError
from consumer.leases import Scope
from consumer.leases.dynamodb.client import dynamodb_client
from consumer.streams.kinesis import kinesis_client
from consumer.urls import options_of, parse


class Options(BaseModel, extra="forbid"):
    compression: str = "none"
    level: int = 3


@pytest.mark.parametrize(
    ("text", "scheme", "path"),
    [
        ("stdout:", "stdout", ""),
        ("jsonl:rows", "jsonl", "rows"),
        ("sqlite:C:/odd name.db", "sqlite", "C:/odd name.db"),
        ("sqlite:/absolute/as typed.db", "sqlite", "/absolute/as typed.db"),
        ("sqlite:///relative.db", "sqlite", "relative.db"),
        ("sqlite:////absolute.db", "sqlite", "/absolute.db"),
    ],
)
def test_a_path_is_read_as_typed_or_as_sqlalchemy_writes_it(text: str, scheme: str, path: str) -> None:
    """Three slashes start a relative path, four an absolute one."""
    url = parse("--sink", text)
    assert (url.scheme, url.path) == (scheme, path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rows", "write SCHEME:PATH"),
        (":rows", "write SCHEME:PATH"),
        ("jsonl:rows\0x", "null character"),
        ("jsonl:rows?x", "write options as"),
        ("jsonl:rows?level=1&level=2", "given twice"),
    ],
)
def test_an_invalid_url_is_one_line_that_names_its_setting(text: str, says: str) -> None:
    """The line starts with the flag."""
    with pytest.raises(ConfigurationError, match=says) as raised:
        parse("--dead-letters", text)
    assert str(raised.value).startswith("--dead-letters")


def test_options_become_the_model_that_the_module_declares() -> None:
    """Pydantic converts the values."""
    assert options_of(parse("--sink", "jsonl:rows?level=9"), Options) == Options(level=9)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("compresion=zstd", "Did you mean 'compression'"),
        ("level=high", "option 'level'"),
        ("zzz=1", "compression, level"),
    ],
)
def test_an_unknown_option_is_named_with_the_available_ones(query: str, says: str) -> None:
    """The message suggests the closest name."""
    with pytest.raises(ConfigurationError, match=says):
        options_of(parse("--sink", f"jsonl:rows?{query}"), Options)


@pytest.mark.parametrize(
    ("text", "meant"),
    [("dynamodb", "dynamodb:"), ("dynamo", "dynamodb:"), ("memory", "memory:"), ("stdout", "stdout:")],
)
def test_a_scheme_without_its_colon_is_suggested_with_it(text: str, meant: str) -> None:
    """This is the likeliest mistake with schemes that need no path."""
    with pytest.raises(ConfigurationError, match=f"^--leases '{text}': the colon is missing. Did you mean '{meant}'"):
        parse("--leases", text, ("dynamodb", "memory", "stdout"))


@pytest.mark.parametrize(
    "connect",
    [
        lambda url: kinesis_client("stream", "us-east-1", url, 1),
        lambda url: dynamodb_client(Scope("application", "stream", 1.0), "us-east-1", url),
    ],
)
def test_an_endpoint_with_a_password_is_rejected_from_every_source(connect: Any) -> None:
    """Messages name the endpoint, so its password would appear in them."""
    with pytest.raises(ConfigurationError, match="must not contain a user or a password") as refused:
        connect("http://user:secret@127.0.0.1:4566")
    assert "secret" not in str(refused.value)
