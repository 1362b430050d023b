"""`python -m tests.servers NAME`: start a server, print its URL, and stop it when standard input is closed.

Benchmarks start their servers in this way, so that they import nothing from the tests.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.servers.dynamodb import dynamodb_local
from tests.servers.kinesis import kinesis_local
from tests.servers.postgresql import postgresql


@contextmanager
def postgresql_url() -> Iterator[str]:
    """Yield the URL of a sink in a new PostgreSQL, without fsync."""
    with postgresql() as started:
        yield started.url()


SERVERS = {"kinesis-local": kinesis_local, "dynamodb-local": dynamodb_local, "postgresql": postgresql_url}

if __name__ == "__main__":
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # installers print to standard output
    with SERVERS[sys.argv[1]]() as url:
        print(url, file=output, flush=True)
        sys.stdin.read()
