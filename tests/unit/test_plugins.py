"""Find the modules of sinks and lease tables, also those that other packages register."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from consumer.errors import ConfigurationError
from consumer.plugins import module_of
from consumer.urls import parse

GROUP = "call_consumer.sinks"
SINK = "class Options: ...\ndef connect(url, options, schema): ...\n"
Install = Callable[[str, str, str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Return a function that installs a package with a sink as pip would: package, scheme and code."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def installed(package: str, scheme: str, code: str) -> None:
        module = package.replace("-", "_")
        (tmp_path / f"{module}.py").write_text(code)
        about = tmp_path / f"{module}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[{GROUP}]\n{scheme} = {module}\n")

    yield installed
    for name in set(sys.modules) - before:
        del sys.modules[name]


def refused(text: str = "odd:place") -> str:
    with pytest.raises(ConfigurationError) as raised:
        module_of(parse("--sink", text), {"jsonl": "consumer.sinks.jsonl"}, GROUP)
    return str(raised.value)


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
            "--sink: unknown sink 'postgres'. Available: jsonl, sqlite, stdout. A package adds another by an entry"
            " point in the group 'call_consumer.sinks'",
        ),
        (
            "dynamo:x",
            "lease table",
            "--sink: unknown lease table 'dynamo'. Did you mean 'dynamodb'? Available: dynamodb",
        ),
    ],
)
def test_an_unknown_scheme_is_named_with_the_available_ones(text: str, noun: str, says: str) -> None:
    """The message shows no part of the URL other than the scheme, because the rest may hold a password."""
    table = dict.fromkeys(["jsonl", "sqlite", "stdout"] if noun == "sink" else ["dynamodb"], "no.module")
    with pytest.raises(ConfigurationError) as raised:
        module_of(parse("--sink", text), table, "call_consumer.sinks", noun)
    assert str(raised.value) == says


def test_a_sink_of_another_package_is_found_by_its_entry_point(install: Install) -> None:
    """Installing the package is enough to add the scheme."""
    install("odd-sink", "odd", SINK)
    assert module_of(parse("--sink", "odd:place"), {}, GROUP).__name__ == "odd_sink"


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import no_such_driver", "ModuleNotFoundError: No module named 'no_such_driver'"),
        ("def broken(:", "SyntaxError: invalid syntax (odd_sink.py, line 1)"),
        ("raise RuntimeError('two\\nlines')", "RuntimeError: two lines"),
        ("def connect(): ...", "it lacks Options"),
        ("", "it lacks Options and connect"),
    ],
)
def test_a_sink_that_cannot_be_loaded_is_one_line(install: Install, code: str, why: str) -> None:
    """Its package may be installed without its driver. The line names the package and the reason."""
    install("odd-sink", "odd", code)
    assert refused() == (
        f"--sink odd: cannot load the sink of odd-sink 1.0 (odd_sink): {why}. Install or repair the package"
    )


def test_a_scheme_of_two_packages_is_an_error(install: Install) -> None:
    """Which one is loaded must not depend on the order of directories."""
    install("odd-sink", "odd", SINK)
    install("other-sink", "odd", SINK)
    assert refused() == (
        "--sink: sink 'odd' is registered by odd-sink 1.0 (odd_sink) and by other-sink 1.0 (other_sink)."
        " Uninstall all but one"
    )


def test_a_package_cannot_replace_one_of_our_sinks(install: Install) -> None:
    """Both packages are named in the error."""
    install("odd-sink", "jsonl", SINK)
    assert refused("jsonl:rows").startswith(
        "--sink: sink 'jsonl' is registered by call-consumer and by odd-sink 1.0 (odd_sink)."
    )
