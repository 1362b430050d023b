"""Run the command `call-consumer`: arguments in, exit code out. Each command is one file, loaded on demand."""

import errno
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from consumer.errors import ConfigurationError, OutputClosed
from consumer.process import Exit
from consumer.telemetry import foreign, logs
from consumer.telemetry.stderr import STDERR

# The base class of typer's usage errors; typer exports only this subclass.
UsageError: type[Exception] = typer.BadParameter.__mro__[1]
# Errors of a file that accepts no more data.
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
# One line per command: the first line of its docstring, repeated here so that --help need not load it.
COMMANDS = {
    "run": "Read a stream and write its events as rows.",
    "demo": "Run the whole job on an embedded Kinesis.",
    "publish": "Put sample events or files on a stream.",
    "doctor": "Check that a configuration works.",
    "sql": "Print the SQL that creates the tables in PostgreSQL.",
    "decode": "Decode events from a file or standard input.",
    "dead-letters": "List, show, redrive, purge or export dead letters.",
    "replay": "Read a part of a stream again, beside its workers.",
    "checkpoints": "Show, export, import or reset checkpoints; resume shards.",
    "kcl-daemon": "Run under Amazon's MultiLangDaemon.",
}


@contextmanager
def _closed_output_is_no_error() -> Iterator[None]:
    """Turn a broken pipe into `OutputClosed`, because typer would exit silently with code 1."""
    try:
        yield
    except BrokenPipeError:
        raise OutputClosed("standard output was closed by its reader") from None


class Commands(TyperGroup):
    """Find commands by name, and load only the one that runs."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        with _closed_output_is_no_error():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        with _closed_output_is_no_error():
            code = super().invoke(ctx)
            if sys.stdout is not None:
                sys.stdout.flush()
            return code

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        return _loaded(cmd_name, import_module(f"consumer.cli.{cmd_name.replace('-', '_')}"))

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _loaded(name: str, module: Any) -> Any:
    """Return the command of a module, or the group of its `COMMANDS`, which maps names to functions."""
    loaded = typer.Typer(rich_markup_mode=None, add_completion=False)
    for each, function in getattr(module, "COMMANDS", {name: module.command}).items():
        loaded.command(name=each)(function)
    if hasattr(module, "COMMANDS"):
        loaded.callback(invoke_without_command=True, help=module.command.__doc__)(_required(name, module.COMMANDS))
    command = typer.main.get_command(loaded)
    for each in getattr(command, "commands", {name: command}).values():
        _hide_types(each)
    return command


def _required(group: str, commands: Iterable[str]) -> Callable[[typer.Context], None]:
    """Return the callback of a group, which fails if no command of it is named."""

    def callback(context: typer.Context) -> None:
        if context.invoked_subcommand is None:
            raise ConfigurationError(f"name a command: call-consumer {group} {'|'.join(commands)} (see --help)")

    return callback


def _hide_types(command: Any) -> None:
    """Show STREAM in the help of an argument, not STREAM <str>."""
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            vars(parameter)["display_type_rich"] = lambda **_: None


app = typer.Typer(
    name="call-consumer",
    cls=Commands,
    help="Read Twilio's Call API Request events from Kinesis and write them as flat rows.",
    context_settings={"help_option_names": ["-h", "--help"]},
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
            raise ConfigurationError(f"no command: run one of {', '.join(COMMANDS)} (see --help)")
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(Exit.CONFIGURATION)


def main() -> None:
    """Run a command. A configuration or usage error is one line on stderr and exit code 2.

    A reader of standard output that ends early, such as `head`, ends the command with exit code 0.
    """
    try:
        code = app(prog_name="call-consumer", standalone_mode=False)
    except OutputClosed:
        _end(Exit.DONE)
    except ConfigurationError as error:
        _give_up(str(error))
    except UsageError as error:
        _give_up(f"{error.format_message()} (see --help)")  # type: ignore[attr-defined]
    except typer.Abort:
        code = 128 + signal.SIGINT
    except Exception as error:  # its text may contain a value of an event
        if isinstance(error, OSError) and error.errno in FULL and error.filename is None:
            _give_up(f"standard output: {error.strerror}")  # adapters name every other file
        foreign.crashed(error)
        _end(Exit.UNEXPECTED)
    logs.flush()
    sys.exit(code)


def _give_up(why: str) -> NoReturn:
    logs.finish(f"call-consumer: {why}", "error", {"exit_code": Exit.CONFIGURATION})
    _end(Exit.CONFIGURATION)


def _end(code: Exit) -> NoReturn:
    """Exit at once, because threads may hang in a call that never returns."""
    logs.flush()
    os._exit(code)
