"""URLs of sinks and lease tables, and the modules behind them."""

import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from consumer import urls as places
from consumer.errors import ConfigurationError
from consumer.leases import Scope
from consumer.leases.dynamodb.client import dynamodb_client
from consumer.streams.kinesis import kinesis_client
from consumer.urls import module_of, options_of, parse


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
def test_paths_as_typed_and_as_sqlalchemy_writes_them(text: str, scheme: str, path: str) -> None:
    """Three slashes are relative, four absolute."""
    url = parse("--sink", text)
    assert (url.scheme, url.path) == (scheme, path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rows", "say scheme:path"),
        (":rows", "say scheme:path"),
        ("jsonl:rows\0x", "null character"),
        ("jsonl:rows?x", "written"),
        ("jsonl:rows?level=1&level=2", "given twice"),
    ],
)
def test_what_is_no_url_is_one_line_with_its_setting(text: str, says: str) -> None:
    """The label names the flag."""
    with pytest.raises(ConfigurationError, match=says) as raised:
        parse("--dead-letters", text)
    assert str(raised.value).startswith("--dead-letters")


def test_options_are_what_the_module_declares() -> None:
    """Converted by its model."""
    assert options_of(parse("--sink", "jsonl:rows?level=9"), Options) == Options(level=9)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("compresion=zstd", "did you mean 'compression'"),
        ("level=high", "option 'level'"),
        ("zzz=1", "compression, level"),
    ],
)
def test_a_typo_in_an_option_is_named(query: str, says: str) -> None:
    """With what was probably meant, and what there is."""
    with pytest.raises(ConfigurationError, match=says):
        options_of(parse("--sink", f"jsonl:rows?{query}"), Options)


@pytest.mark.parametrize(
    ("text", "noun", "says"),
    [
        (
            "sqllite:rows.db",
            "sink",
            "--sink: unknown sink 'sqllite'. Did you mean 'sqlite'? Available: jsonl, sqlite, stdout",
        ),
        (
            "postgres://me:secret@host/rows",
            "sink",
            "--sink: unknown sink 'postgres'. Available: jsonl, sqlite, stdout. Packages add others by an entry point"
            " in the group 'call_consumer.sinks'",
        ),
        (
            "dynamo:x",
            "lease table",
            "--sink: unknown lease table 'dynamo'. Did you mean 'dynamodb'? Available: dynamodb",
        ),
    ],
)
def test_an_unknown_kind_is_named_with_what_there_is(text: str, noun: str, says: str) -> None:
    """One line, with a guess, or else how one is added; nothing of a URL but its scheme, which holds no password."""
    table = dict.fromkeys(["jsonl", "sqlite", "stdout"] if noun == "sink" else ["dynamodb"], "no.module")
    with pytest.raises(ConfigurationError) as raised:
        module_of(parse("--sink", text), table, "call_consumer.sinks", noun)
    assert str(raised.value) == says


@pytest.mark.parametrize(
    ("text", "meant"),
    [("dynamodb", "dynamodb:"), ("dynamo", "dynamodb:"), ("memory", "memory:"), ("stdout", "stdout:")],
)
def test_a_scheme_without_its_colon_is_offered_with_it(text: str, meant: str) -> None:
    """The most likely slip with the kinds that need no path."""
    with pytest.raises(ConfigurationError, match=f"^--leases '{text}': a colon is missing: did you mean '{meant}'"):
        parse("--leases", text, ("dynamodb", "memory", "stdout"))


def installed(directory: Path, code: str) -> None:
    """A package with a sink, as pip would leave it on the path."""
    (directory / "odd_sink.py").write_text(code)
    about = directory / "odd_sink-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: odd-sink\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[call_consumer.sinks]\nodd = odd_sink\n")


def test_a_sink_of_another_package_is_found_by_its_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution that is installed adds a kind; nothing else has to know of it."""
    installed(tmp_path, "SCHEMES = ('odd',)\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = module_of(parse("--sink", "odd:place"), {}, "call_consumer.sinks")
    assert module.SCHEMES == ("odd",)
    del sys.modules["odd_sink"]


def test_a_sink_that_cannot_be_imported_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its package is there, its driver perhaps is not."""
    broken = EntryPoint("odd", "no_such_module", "call_consumer.sinks")
    monkeypatch.setattr(places, "entry_points", lambda **_: [broken])
    with pytest.raises(ConfigurationError, match="--sink odd: no_such_module"):
        module_of(parse("--sink", "odd:place"), {}, "call_consumer.sinks")


@pytest.mark.parametrize(
    "connect",
    [
        lambda url: kinesis_client("stream", "us-east-1", url, 1),
        lambda url: dynamodb_client(Scope("application", "stream", 1.0), "us-east-1", url),
    ],
)
def test_an_endpoint_with_a_password_is_refused_wherever_it_comes_from(connect: Any) -> None:
    """AWS_ENDPOINT_URL and a lease table's own option too: each message that names the endpoint would show it."""
    with pytest.raises(ConfigurationError, match="no user and no password") as refused:
        connect("http://user:secret@127.0.0.1:4566")
    assert "secret" not in str(refused.value)
