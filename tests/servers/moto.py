"""Start moto, which imitates Kinesis and DynamoDB, as a process or inside the test's process."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from moto.server import ThreadedMotoServer

from tests.servers.process import free_port, running


@contextmanager
def moto() -> Iterator[str]:
    """Yield the URL of a new moto server in a separate process."""
    port = free_port()
    with running([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], port) as url:
        yield url


@contextmanager
def embedded_moto() -> Iterator[str]:
    """Yield the URL of a moto server on a thread of this process. All of them share their streams and tables."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()
