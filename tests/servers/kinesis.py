"""Start kinesis-local, the engine of LocalStack, with real shard ends and 56-digit sequence numbers."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from tests.needs import INSTALLED, INSTALLERS, install, need
from tests.servers.process import free_port, running

ACTIONS = ("CREATE_STREAM", "SPLIT_SHARD", "MERGE_SHARDS", "DELETE_STREAM")


@contextmanager
def kinesis_local() -> Iterator[str]:
    """Yield the URL of a new kinesis-local whose actions take 100 ms."""
    need(shutil.which("npm") is not None, "Node.js with npm")
    install(INSTALLERS / "install.sh")
    package, port = INSTALLED / "kinesis" / "node_modules" / "kinesis-local", free_port()
    environment = {
        "KINESIS_MOCK_CERT_PATH": str(package / "server.json"),
        "KINESIS_MOCK_PLAIN_PORT": str(port),
        "KINESIS_MOCK_TLS_PORT": str(free_port()),
        "LOG_LEVEL": "ERROR",
        **{f"{action}_DURATION": "100ms" for action in ACTIONS},
    }
    command = ["node", "-r", str(INSTALLERS / "loopback.js"), str(package / "main.js")]
    with running(command, port, environment) as url:
        yield url
