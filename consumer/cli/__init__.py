"""The command `call-consumer`: arguments in, exit code out. One file for each command, loaded when it is asked for."""

import errno
import os
import signal
import sys
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from consumer.errors import ConfigurationError
from consumer.process import Exit
from consumer.telemetry import foreign, logs
from consumer.telemetry.stderr import STDERR

# What typer's command line raises when flags and arguments make no sense; typer names only this one kind of it.
UsageError: type[Exception] = typer.BadParameter.__mro__[1]
# What is said of a file that takes nothing more.
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
# What there is, with the first words of what each says of itself: for --help none of them has to be loaded.
COMMANDS = {
    "run": "Read a stream until told to stop.",
    "demo": "Show the whole job: an embedded Kinesis, sample events, the real worker, and what came of them.",
    "publish": "Put sample events, or those of files, on a stream.",
    "doctor": "Show the configuration and where it comes from, read the stream, and write where rows go.",
    "decode": "Decode events: a JSON object or array, JSON lines, or base64 of either.",
    "kcl-daemon": "Be the record processor of one shard under Amazon's MultiLangDaemon.",
}


class Commands(TyperGroup):
    """The commands by name."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"consumer.cli.{cmd_name.replace('-', '_')}")
        loaded = typer.Typer(rich_markup_mode=None, add_completion=False)
        loaded.command(name=cmd_name)(module.command)
        return typer.main.get_command(loaded)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


app = typer.Typer(
    name="call-consumer",
    cls=Commands,
    help="Read Twilio's Call API Request events from Kinesis and write them as flat rows.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback(invoke_without_command=True)
def _commands(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False
) -> None:
    if version:
        from consumer.pipeline.dead_letters import WORKER_VERSION

        typer.echo(WORKER_VERSION)
        raise typer.Exit
    if context.invoked_subcommand is None:
        if STDERR.as_json:
            raise ConfigurationError(f"name a command: {', '.join(COMMANDS)} (see --help)")
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(Exit.CONFIGURATION)


def main() -> None:
    """Run a command; an operator's mistake is one line on stderr and exit code 2."""
    try:
        code = app(standalone_mode=False)
    except ConfigurationError as error:
        _give_up(str(error))
    except UsageError as error:
        _give_up(f"{error.format_message()} (see --help)")  # type: ignore[attr-defined]
    except typer.Abort:
        code = 128 + signal.SIGINT
    except Exception as error:  # its text may carry a value of an event
        if isinstance(error, OSError) and error.errno in FULL and error.filename is None:
            _give_up(f"standard output: {error.strerror}")  # of every other file an adapter says which it is
        foreign.crashed(error)
        _end(Exit.UNEXPECTED)
    logs.flush()
    sys.exit(code)


def _give_up(why: str) -> NoReturn:
    logs.say(f"call-consumer: {why}", "error", {"exit_code": Exit.CONFIGURATION})
    _end(Exit.CONFIGURATION)


def _end(code: Exit) -> NoReturn:
    """End at once: threads may hang in whatever does not answer."""
    logs.flush()
    os._exit(code)
