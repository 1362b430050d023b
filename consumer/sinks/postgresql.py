"""Write rows to a table of PostgreSQL, `postgresql://USER@HOST/DATABASE?schema=…&table=…`, with psycopg 3.

The table's primary key identifies the event, so duplicates are absorbed. The options that are not in `Options` are
libpq's own, such as `sslmode` and `service`. The package's extra `postgres` installs the driver.
"""

from typing import Literal

from pydantic import BaseModel, Field

from consumer.aws.access import Accesses
from consumer.errors import ConfigurationError
from consumer.records import BatchLimits
from consumer.sinks import Sink, SinkSchema
from consumer.sinks.postgresql_schema import Table, script
from consumer.urls import Url

# A larger batch costs the server less per row. Beyond this nothing is gained.
LIMITS = BatchLimits(rows=5_000, bytes=8 * 1024 * 1024, age=1.0)
NAME = r"^[^\W\d][\w$-]*$"  # a name that the program quotes but never has to escape
INSTALL = "install the driver: pip install 'call-request-consumer[postgres]'"


class Options(BaseModel, extra="allow"):
    """The options of the URL. `connect` checks the others against libpq's."""

    schema_: str = Field("public", alias="schema", pattern=NAME, max_length=63)
    table: str = Field("", pattern=f"{NAME}|^$", max_length=40)  # the names of its indexes are longer
    on_conflict: Literal["nothing", "replace"] = "nothing"
    iam: bool = False  # log in with a token of RDS IAM instead of a password
    region: str = ""  # of the database, for `iam`


def connect(url: Url, options: Options, schema: SinkSchema, accesses: Accesses) -> Sink:
    """Return the sink for a URL. `check` creates the table. `accesses` serve `iam`."""
    require_driver(url.label)
    from consumer.sinks.postgresql_sink import create

    return create(url, options, schema, table_of(options, schema), accesses)


def require_driver(label: str) -> None:
    """Check that the driver is installed, with or without its own libpq.

    Raises:
        ConfigurationError: it is not.
    """
    try:
        import psycopg  # noqa: F401
    except ImportError:
        raise ConfigurationError(f"{label} postgresql: {INSTALL}") from None


def table_of(options: Options, schema: SinkSchema) -> Table:
    """Return the table that a sink with these options writes."""
    return Table(schema, options.schema_, options.table or schema.name)


def table_script(options: Options, schema: SinkSchema) -> str:
    """Return the script that creates the table, for those who run a worker without the right to create."""
    return script(table_of(options, schema))
