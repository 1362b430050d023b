"""`call-consumer doctor STREAM`: check everything that the worker depends on."""

from typing import Any

import typer

from consumer.cli.options import Config, Stream, with_settings
from consumer.process import Exit
from consumer.settings import load, sources


@with_settings
def command(stream: Stream = None, config: Config = None, **flags: Any) -> None:
    """Check that a configuration works.

    Print each setting and its source, read each shard once (20 at most), and write a test block where rows go. Create
    a missing lease table, folder or file, as `run` would. Exit with code 2 if a check FAILED.
    """
    # These load botocore, which --help does not need.
    from consumer.app import create_examination
    from consumer.doctor.checks import Level
    from consumer.doctor.effective_settings import lines
    from consumer.errors import ConfigurationError

    given = {"stream": stream, **flags}
    settings, origins = load(given, config), sources(given, config)
    try:
        exam = create_examination(settings)
    except ConfigurationError:
        typer.echo("\n".join(lines(settings, origins)))
        raise
    typer.echo("\n".join(lines(settings, origins, exam.rows.limits)))
    healthy = True
    for finding in exam.findings():
        typer.echo(finding.line)
        healthy = healthy and finding.level is not Level.FAILED
    if not healthy:
        raise typer.Exit(Exit.CONFIGURATION)
