"""`call-consumer` itself: what it says without a command, and its version."""

import inspect
import json
import os
import subprocess
import sys
from importlib import import_module

import pytest

from consumer import cli
from consumer.pipeline.dead_letters import WORKER_VERSION
from consumer.settings import Settings, flag


@pytest.mark.parametrize(("arguments", "code", "says"), [([], 2, "\n  run  "), (["--version"], 0, WORKER_VERSION)])
def test_without_a_command_it_says_what_there_is(arguments: list[str], code: int, says: str) -> None:
    """As it is meant to be read: on lines of its own."""
    command, environment = [sys.executable, "-m", "consumer", *arguments], {"CALL_CONSUMER_LOG_FORMAT": "console"}
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert says in done.stdout + done.stderr


def output(*arguments: str, code: str = "from consumer.__main__ import main; main()") -> str:
    """What the command writes in a process of its own."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_help_loads_no_command() -> None:
    """What is not loaded costs nothing: botocore and pydantic take most of a second."""
    main = "from consumer.__main__ import main; main()"
    shown = output("--help", code=f"import atexit, sys; atexit.register(lambda: print('LOADED', *sys.modules)); {main}")
    assert "Commands:" in shown
    loaded = set(shown.partition("LOADED")[2].split())
    commands = {f"consumer.cli.{name.replace('-', '_')}" for name in cli.COMMANDS}
    assert not loaded & {"botocore", "pydantic", "structlog", "rich", "consumer.settings", *commands}


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_says_of_each_command_what_it_says_of_itself(name: str) -> None:
    """The list is written down, so that none has to be loaded."""
    said = inspect.getdoc(import_module(f"consumer.cli.{name.replace('-', '_')}").command)
    assert said is not None
    assert said.startswith(cli.COMMANDS[name].rstrip("."))
    assert cli.COMMANDS[name].split()[-1] in output("--help")
    assert said.split(".")[0].split()[0] in output(name, "--help")


def test_every_flag_is_in_the_help_of_run() -> None:
    """They are made from the settings."""
    shown = output("run", "--help")
    for field in Settings.model_fields:
        assert field == "stream" or f" {flag(field)} " in shown, field


def test_an_unforeseen_error_is_one_line_with_its_place_and_without_its_text(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The text may carry a value of an event."""

    def fails(**_: object) -> None:
        raise ZeroDivisionError("+15551234567")

    monkeypatch.setattr(cli, "app", fails)
    monkeypatch.setattr(cli.os, "_exit", sys.exit)  # type: ignore[attr-defined]
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    [line] = capfd.readouterr().err.splitlines()
    assert json.loads(line)["event"].startswith("call-consumer: unexpected: ZeroDivisionError at test_cli.py:")
    assert "1555" not in line
