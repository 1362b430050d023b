"""`call-consumer doctor`: will this configuration work? Asks everything that the worker depends on."""

from typing import Annotated, Any

import typer

from consumer.cli.options import with_settings
from consumer.settings import load, sources

Stream = Annotated[str | None, typer.Argument(help="The stream: its name, or its ARN.", show_default=False)]
Config = Annotated[str | None, typer.Option("--config", help="A TOML file with any of these settings.")]


@with_settings
def command(stream: Stream = None, config: Config = None, **flags: Any) -> None:
    """Show the configuration and where it comes from, read the stream, and write where rows go. Ends with 2 on FAILED.

    Each shard, 20 at most, is read once. A lease table, folder or file that is not there is made, as `run` would make
    it: that is part of the question.
    """
    # These load botocore, which --help does not need.
    from consumer.app import examination
    from consumer.doctor.questions import Level
    from consumer.doctor.values import lines
    from consumer.errors import ConfigurationError

    given = {"stream": stream, **flags}
    settings, said = load(given, config), sources(given, config)
    try:
        exam = examination(settings)
    except ConfigurationError:
        typer.echo("\n".join(lines(settings, said)))
        raise
    typer.echo("\n".join(lines(settings, said, exam.rows.limits)))
    healthy = True
    for finding in exam.findings():
        typer.echo(finding.line)
        healthy = healthy and finding.level is not Level.FAILED
    if not healthy:
        raise typer.Exit(2)
