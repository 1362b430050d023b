"""`call-consumer sql`: print what creates the tables in PostgreSQL."""

from typing import Any

import typer

from consumer.cli.options import Config, with_some_settings
from consumer.settings import load


@with_some_settings(("sink", "dead_letters"))
def command(config: Config = None, **flags: Any) -> None:
    """Print the SQL that creates the tables in PostgreSQL.

    Use it if the worker's user may not create tables: call-consumer sql | psql. Without a sink in PostgreSQL, print
    both tables with their usual names.
    """
    from consumer.adapters import table_scripts

    typer.echo("\n".join(table_scripts(load(flags, config))), nl=False)
