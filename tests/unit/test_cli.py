"""`call-consumer` itself: what it says without a command, and its version."""

import sys

import pytest

from consumer import cli
from consumer.pipeline.dead_letters import WORKER_VERSION


@pytest.mark.parametrize(("arguments", "code", "says"), [([], 2, "\n  run  "), (["--version"], 0, WORKER_VERSION)])
def test_without_a_command_it_says_what_there_is(
    arguments: list[str], code: int, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it is meant to be read: on lines of its own."""
    monkeypatch.setattr(sys, "argv", ["call-consumer", *arguments])
    monkeypatch.setattr(cli.os, "_exit", sys.exit)  # type: ignore[attr-defined]
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == code
    assert says in "".join(capsys.readouterr())
