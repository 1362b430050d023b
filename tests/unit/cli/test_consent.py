"""Test how a command asks before it changes something."""

import io
import sys

import pytest
import typer

from consumer.cli.consent import proceed
from consumer.errors import ConfigurationError
from consumer.telemetry import logs


class Terminal(io.StringIO):
    """Standard input that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("yes", "dry_run", "goes_on"), [(True, False, True), (False, True, False), (True, True, False)]
)
def test_a_flag_replaces_the_question(yes: bool, dry_run: bool, goes_on: bool) -> None:
    """A dry run changes nothing, even with --yes."""
    assert proceed(["plan"], yes, dry_run) is goes_on


@pytest.mark.parametrize("given", [io.StringIO("y\n"), None])
def test_without_a_terminal_the_command_ends(given: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script must say --yes; a piped answer does not count."""
    monkeypatch.setattr(sys, "stdin", given)
    with pytest.raises(ConfigurationError, match="pass --yes"):
        proceed(["plan"], yes=False, dry_run=False)


@pytest.mark.parametrize(("answer", "goes_on"), [("y\n", True), ("YES\n", True), ("\n", False), ("", False)])
def test_only_yes_goes_on(
    answer: str, goes_on: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Anything else ends the command with exit code 1. The plan is on stderr, so that stdout has only results."""
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    monkeypatch.setattr(sys, "__stderr__", io.StringIO())
    if goes_on:
        assert proceed(["the plan"], yes=False, dry_run=False)
    else:
        with pytest.raises(typer.Exit) as ended:
            proceed(["the plan"], yes=False, dry_run=False)
        assert ended.value.exit_code == 1
    logs.flush()
    shown = capfd.readouterr()
    assert "the plan" in shown.err
    assert shown.out == ""
