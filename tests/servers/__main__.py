"""`python -m tests.servers NAME`: start a server, print its URL, and stop it when standard input is closed.

Benchmarks start their servers in this way, so that they import nothing from the tests.
"""

import os
import sys

from tests.servers.dynamodb import dynamodb_local
from tests.servers.kinesis import kinesis_local

SERVERS = {"kinesis-local": kinesis_local, "dynamodb-local": dynamodb_local}

if __name__ == "__main__":
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # installers print to standard output
    with SERVERS[sys.argv[1]]() as url:
        print(url, file=output, flush=True)
        sys.stdin.read()
