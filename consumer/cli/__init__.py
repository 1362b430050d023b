"""The command `call-consumer`: arguments in, exit code out. One file for each group of commands."""

import os
import signal
import sys
from typing import Annotated, NoReturn

import typer

from consumer.cli import decode, demo, doctor, kcl_daemon, publish, run
from consumer.engine.worker import Exit
from consumer.errors import ConfigurationError

# What typer's command line raises when flags and arguments make no sense; typer names only this one kind of it.
UsageError: type[Exception] = typer.BadParameter.__mro__[1]

app = typer.Typer(
    name="call-consumer",
    help="Read Twilio's Call API Request events from Kinesis and write them as flat rows.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command(name="run")(run.command)
app.command(name="demo")(demo.command)
app.command(name="publish")(publish.command)
app.command(name="doctor")(doctor.command)
app.command(name="decode")(decode.command)
app.command(name="kcl-daemon")(kcl_daemon.command)


@app.callback(invoke_without_command=True)
def _commands(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False
) -> None:
    if version:
        from consumer.pipeline.dead_letters import WORKER_VERSION

        typer.echo(WORKER_VERSION)
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(Exit.CONFIGURATION)


def main() -> None:
    """Run a command; an operator's mistake is one line on stderr and exit code 2."""
    if sys.stderr is None:  # closed: what is for people must not go to standard output instead
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - as long as the process
    try:
        sys.exit(app(standalone_mode=False))
    except ConfigurationError as error:
        _give_up(str(error))
    except UsageError as error:
        _give_up(f"{error.format_message()} (see --help)")  # type: ignore[attr-defined]
    except typer.Abort:
        sys.exit(128 + signal.SIGINT)


def _give_up(why: str) -> NoReturn:
    print(f"call-consumer: {' '.join(why.split())}", file=sys.stderr)
    sys.stderr.flush()
    os._exit(Exit.CONFIGURATION)  # threads may hang in whatever does not answer
