"""Test `call-consumer` without a command: its help and its version."""

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
def test_without_a_command_the_commands_are_listed(arguments: list[str], code: int, says: str) -> None:
    """Each has one line."""
    command, environment = [sys.executable, "-m", "consumer", *arguments], {"CALL_CONSUMER_LOG_FORMAT": "console"}
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert says in done.stdout + done.stderr


def output(*arguments: str, code: str = "from consumer.__main__ import main; main()") -> str:
    """Return what the command writes, run in a separate process."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_help_loads_no_command() -> None:
    """Importing botocore and pydantic takes most of a second."""
    main = "from consumer.__main__ import main; main()"
    shown = output("--help", code=f"import atexit, sys; atexit.register(lambda: print('LOADED', *sys.modules)); {main}")
    assert "Commands:" in shown
    loaded = set(shown.partition("LOADED")[2].split())
    commands = {f"consumer.cli.{name.replace('-', '_')}" for name in cli.COMMANDS}
    assert not loaded & {"botocore", "pydantic", "structlog", "rich", "consumer.settings", *commands}


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_the_list_shows_the_first_line_of_each_docstring(name: str) -> None:
    """The list repeats them, so that --help loads no command."""
    said = inspect.getdoc(import_module(f"consumer.cli.{name.replace('-', '_')}").command)
    assert said is not None
    assert said.splitlines()[0] == cli.COMMANDS[name]
    assert len(cli.COMMANDS[name]) < 66  # one line of 80 columns
    assert cli.COMMANDS[name].split()[-1] in output("--help")
    assert said.split(".")[0].split()[0] in output(name, "--help")


def test_every_flag_is_in_the_help_of_run() -> None:
    """The flags are made from the settings."""
    shown = output("run", "--help")
    for field in Settings.model_fields:
        assert field == "stream" or f" {flag(field)} " in shown, field


def test_the_short_flag_for_help_works_for_every_command() -> None:
    """`-h` prints the same as `--help`."""
    assert output("-h") == output("--help")
    assert output("publish", "-h") == output("publish", "--help")


def test_a_flag_shows_its_unit_its_choices_and_a_readable_default() -> None:
    """Examples are SECONDS, BYTES, URL, TIME and `32MiB`."""
    shown = output("run", "--help")
    for text in (
        "--sink URL",
        "--from TIME",
        "--batch-age SECONDS",
        "--memory BYTES",
        "32MiB",
        "--log-format auto|json|console",
    ):
        assert text in shown


def test_an_argument_shows_no_type_of_python() -> None:
    """typer would print STREAM <str>."""
    assert "<" not in output("publish", "--help").replace("1<=x<=10000", "")


def test_kcl_daemon_shows_only_its_settings_and_accepts_the_others() -> None:
    """KCL keeps the leases; a shared command line may still name a lease table."""
    shown = output("kcl-daemon", "--help")
    assert "--sink" in shown
    assert "--leases URL" not in shown
    assert "--http" not in shown
    properties = output("kcl-daemon", "s", "--sink", "sqlite:r.db", "--leases", "memory:", "--properties")
    assert "streamName = s" in properties


def test_the_shell_completes_command_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """`call-consumer pub<TAB>` is what the script of --install-completion requests."""
    request = {"_CALL_CONSUMER_COMPLETE": "complete_bash", "COMP_WORDS": "call-consumer pub", "COMP_CWORD": "1"}
    for name, value in request.items():
        monkeypatch.setenv(name, value)
    assert output().split() == ["publish"]


def test_an_unforeseen_error_is_one_line_with_its_place_and_without_its_text(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The text may contain a value of an event."""

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
