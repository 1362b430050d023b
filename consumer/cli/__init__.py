"""The command `call-consumer`: arguments in, exit code out. One file for each group of commands."""

import os
import sys
from typing import Annotated

import typer

from consumer.cli import decode, demo, doctor, kcl_daemon, publish, run
from consumer.engine.worker import Exit
from consumer.errors import ConfigurationError

app = typer.Typer(
    name="call-consumer",
    help="Read Twilio's Call API Request events from Kinesis and write them as flat rows.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command(name="run")(run.command)
app.command(name="demo")(demo.command)
app.command(name="publish")(publish.command)
app.command(name="doctor")(doctor.command)
app.command(name="decode")(decode.command)
app.command(name="kcl-daemon")(kcl_daemon.command)


@app.callback()
def _commands(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        from consumer.pipeline.dead_letters import WORKER_VERSION

        typer.echo(WORKER_VERSION)
        raise typer.Exit


def main() -> None:
    """Run a command; an operator's mistake is one line on stderr and exit code 2."""
    try:
        app()
    except ConfigurationError as error:
        print(f"call-consumer: {error}", file=sys.stderr)
        sys.stderr.flush()
        os._exit(Exit.CONFIGURATION)  # threads may hang in whatever does not answer
