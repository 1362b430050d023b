"""Starts LocalStack with every server on loopback: its gateway has an option for that, Twisted's others have not."""

from typing import Any

from localstack.runtime.main import main
from twisted.internet import endpoints

listen = endpoints.TCP4ServerEndpoint.__init__


def on_loopback(self: Any, reactor: Any, port: int, backlog: int = 50, interface: str = "") -> None:
    """Listen on 127.0.0.1 unless told where."""
    listen(self, reactor, port, backlog, interface or "127.0.0.1")


endpoints.TCP4ServerEndpoint.__init__ = on_loopback
main()
