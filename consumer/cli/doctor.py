"""`call-consumer doctor`: can this configuration work? Asks everything that the worker depends on."""

import re
from collections.abc import Callable
from typing import Annotated, Any

import typer

from consumer.cli.options import with_settings
from consumer.errors import ConsumerError
from consumer.leases import LeaseTable
from consumer.settings import Settings, load
from consumer.sinks import Repeats

Stream = Annotated[str | None, typer.Argument(help="The stream: its name, or its ARN.", show_default=False)]
Config = Annotated[str | None, typer.Option("--config", help="A TOML file with any of these settings.")]
REPEATED = {
    Repeats.BY_ROW: "absorbed row by row",
    Repeats.BY_BATCH: "absorbed batch by batch",
    Repeats.APPENDS: "there twice",
}
_SECRET = re.compile(r"(//[^/?#:@]*:)[^/?#@]*@|((?:password|secret|token|key)[^=&]*=)[^&]*", re.IGNORECASE)


@with_settings
def command(stream: Stream = None, config: Config = None, **flags: Any) -> None:
    """Show the configuration, and ask stream, lease table and sinks whether they can be used. Ends with 2 if not.

    A lease table, folder or file that is not there is made, as `run` would make it: that is part of the question.
    """
    from consumer.app import parts  # loads botocore, which --help does not need

    settings = load({"stream": stream, **flags}, config)
    _show(settings)
    made = parts(settings)
    healthy = [
        _ask(
            "stream", lambda: f"{len(made.stream.shards())} shards, made {made.stream.summary().created_at:%F %T} UTC"
        ),
        _ask("leases", lambda: _rows(made.leases), made.leases.check),
        _ask(
            "sink", lambda: f"can be written; what is written twice is {REPEATED[made.rows.repeats]}", made.rows.check
        ),
        _ask("dead letters", lambda: "can be written", made.dead_letters.check),
    ]
    if not all(healthy):
        raise typer.Exit(2)


def _rows(leases: LeaseTable) -> str:
    found = f"{len(leases.scan())} rows"
    broken = [f"; {shard_id} is left alone: {why}" for shard_id, why in sorted(leases.unreadable().items())]
    return found + "".join(broken)


def _show(settings: Settings) -> None:
    for name, value in settings.model_dump().items():
        shown = _SECRET.sub(lambda found: f"{found[1]}***@" if found[1] else f"{found[2]}***", str(value))
        typer.echo(f"{name.rstrip('_').replace('_', '-'):22} {'' if value is None else shown}")


def _ask(what: str, question: Callable[[], str], first: Callable[[], None] | None = None) -> bool:
    try:
        if first is not None:
            first()
        typer.echo(f"ok      {what}: {question()}")
    except ConsumerError as error:
        typer.echo(f"FAILED  {what}: {error}")
        return False
    return True
