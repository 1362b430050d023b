"""`call-consumer checkpoints show|export|import|reset`: look at checkpoints, copy them, and move them."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from consumer.cli.consent import DryRun, Yes, proceed
from consumer.cli.options import Config, Stream, with_some_settings
from consumer.errors import ConfigurationError
from consumer.settings import load

SHOWN = [
    *("leases", "application", "lease_duration", "region", "endpoint_url", "stream_role_arn", "leases_role_arn"),
    "log_format",
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Output = Annotated[
    Path, typer.Option("--output", "-o", help="File to write, or - for standard output.", metavar="FILE")
]
Input = Annotated[
    Path, typer.Argument(help="File of `checkpoints export`, or - for standard input.", allow_dash=True, metavar="FILE")
]
To = Annotated[
    str,
    typer.Option(
        help="Where to read from: trim-horizon, latest, a time, a date, or an age such as 2h. With one --shard also a"
        " sequence number: reading continues after that record.",
        metavar="trim-horizon|latest|TIME|SEQUENCE",
        show_default=False,
    ),
]
Shards = Annotated[
    list[str] | None,
    typer.Option("--shard", help="Only this shard and its descendants; may be repeated.", metavar="NAME"),
]

Skip = Annotated[bool, typer.Option("--skip", help="Make the record a dead letter, and read on after it.")]


def command() -> None:
    """Show, export, import or reset checkpoints; resume shards."""


@with_some_settings(SHOWN)
def show(stream: Stream = None, json: AsJson = False, config: Config = None, **flags: Any) -> None:
    """Print how far each shard is read.

    It asks only the lease table, and creates and changes nothing.
    """
    from consumer.checkpoint_app import create_checkpoints
    from consumer.checkpoints.listing import as_json, table

    checkpoints = create_checkpoints(load({"stream": stream, **flags}, config))
    rows, damaged = checkpoints.rows(), checkpoints.damaged()
    typer.echo(as_json(rows, damaged) if json else "\n".join(table(rows, damaged, checkpoints.now())))
    checkpoints.close()


@with_some_settings(SHOWN)
def export(stream: Stream = None, output: Output = Path("-"), config: Config = None, **flags: Any) -> None:
    """Write the checkpoints to a JSON file.

    `import` loads it into another lease table or application. Each checkpoint is exact, but workers that run move the
    others meanwhile: stop them for a copy that continues without repeats.
    """
    from consumer.checkpoint_app import create_checkpoints

    checkpoints = create_checkpoints(load({"stream": stream, **flags}, config))
    text = checkpoints.export().model_dump_json(indent=2)
    checkpoints.close()
    if str(output) == "-":
        typer.echo(text)
        return
    try:
        output.write_text(f"{text}\n", "utf-8")
    except OSError as error:
        raise ConfigurationError(f"--output {output}: {error.strerror}: name another file") from None


@with_some_settings(SHOWN)
def import_(
    stream: Stream = None,
    file: Input = Path("-"),
    yes: Yes = False,
    dry_run: DryRun = False,
    config: Config = None,
    **flags: Any,
) -> None:
    """Load checkpoints from a JSON file.

    Afterwards the lease table says what the file says: rows that the file lacks are removed. The command prints the
    plan and asks. A live worker with one of the leases ends it with exit code 2. Pass the workers' --lease-duration if
    they have another one.
    """
    from consumer.checkpoint_app import create_checkpoints
    from consumer.checkpoints.document import parsed

    checkpoints = create_checkpoints(load({"stream": stream, **flags}, config))
    plan = checkpoints.plan_import(parsed(_read(file), str(file)))
    if proceed(plan.lines(), yes or plan.empty, dry_run):
        checkpoints.carry_out(plan)
    checkpoints.close()


@with_some_settings(SHOWN)
def reset(
    to: To,
    stream: Stream = None,
    shard: Shards = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    config: Config = None,
    **flags: Any,
) -> None:
    """Move checkpoints to another position.

    The command prints how much time each shard moves over, and asks. A live worker with one of the leases ends it with
    exit code 2. Pass the workers' --lease-duration if they have another one.
    """
    from consumer.checkpoint_app import create_checkpoints
    from consumer.checkpoints.targets import target_of

    target = target_of(to)
    checkpoints = create_checkpoints(load({"stream": stream, **flags}, config))
    plan = checkpoints.plan_reset(target, shard or [])
    if proceed(plan.lines(), yes or plan.empty, dry_run):
        checkpoints.carry_out(plan)
    checkpoints.close()


@with_some_settings(SHOWN)
def resume(
    stream: Stream = None,
    shard: Shards = None,
    skip: Skip = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    config: Config = None,
    **flags: Any,
) -> None:
    """Let halted shards read on.

    Without --skip the record that halted a shard is decoded again, for example after an upgrade. Workers keep running:
    the owner acts on it at its next renewal.
    """
    from consumer.checkpoint_app import create_checkpoints
    from consumer.checkpoints.halts import Halts

    checkpoints = create_checkpoints(load({"stream": stream, **flags}, config))
    halts = Halts(checkpoints.rows(), shard or [], skip)
    if proceed(halts.lines(), yes or halts.empty, dry_run):
        halts.carry_out(checkpoints.table)
    checkpoints.close()


def _read(file: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}") from None


COMMANDS = {"show": show, "export": export, "import": import_, "reset": reset, "resume": resume}
