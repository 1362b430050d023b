"""Show what a command is about to change, and ask first."""

import sys
from collections.abc import Iterable
from typing import Annotated

import typer

from consumer.errors import ConfigurationError
from consumer.telemetry import logs

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask. Needed without a terminal.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan and change nothing.")]
REFUSED = 1  # the exit code after the answer no


def proceed(plan: Iterable[str], yes: bool, dry_run: bool) -> bool:
    """Print the plan on stderr and return whether to carry it out. Only a terminal is asked.

    Raises:
        ConfigurationError: there is no terminal and no `--yes`.
        typer.Exit: the answer is no; nothing is changed.
    """
    for line in plan:
        logs.say(line)
    if dry_run or yes:
        return not dry_run
    if sys.stdin is None or not sys.stdin.isatty():
        raise ConfigurationError("no terminal to ask on: pass --yes to continue, or --dry-run to only print the plan")
    if not _agreed():
        logs.say("nothing is changed")
        raise typer.Exit(REFUSED)
    return True


def _agreed() -> bool:
    """Ask on the terminal. Bypass our line writer, because a question does not end its line."""
    logs.flush()
    print("Continue? [y/N] ", end="", file=sys.__stderr__, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
