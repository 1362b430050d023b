"""Check each fault of the proxy."""

import random
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from tests.servers.faulty_proxy import Fault, FaultyProxy
from tests.servers.loopback import LoopbackServer, QuietHandler


class Upstream(LoopbackServer):
    """Count the requests that it carries out, and echo them."""

    def __init__(self) -> None:
        self.carried_out: list[bytes] = []
        self.changed = threading.Condition()
        super().__init__(_Echo)

    def reached(self, count: int) -> bool:
        with self.changed:
            return self.changed.wait_for(lambda: len(self.carried_out) >= count, timeout=5)


class _Echo(QuietHandler):
    server: Upstream

    def reply(self) -> None:
        body = self.body()
        with self.server.changed:
            self.server.carried_out.append(body)
            self.server.changed.notify_all()
        self.respond(200, body)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    yield server
    server.stop()


@pytest.fixture
def proxy(upstream: Upstream) -> Iterator[FaultyProxy]:
    proxy = FaultyProxy(upstream.url, random.Random(1))
    yield proxy
    proxy.close()


def ask(proxy: FaultyProxy, body: bytes = b"put", patience: float = 5.0) -> bytes:
    answer: bytes
    with urllib.request.urlopen(proxy.url, data=body, timeout=patience) as response:
        answer = response.read()
    return answer


def test_without_a_fault_the_proxy_forwards(proxy: FaultyProxy) -> None:
    """The response is unchanged."""
    assert ask(proxy, b"hello") == b"hello"


def test_a_response_is_lost_after_the_request_was_carried_out(proxy: FaultyProxy, upstream: Upstream) -> None:
    """The client sees a broken connection."""
    proxy.suffer(Fault.LOST)
    with pytest.raises((OSError, ConnectionError)):
        ask(proxy)
    assert upstream.carried_out == [b"put"]


def test_a_late_request_arrives_long_after_its_client_gave_up(proxy: FaultyProxy, upstream: Upstream) -> None:
    """It is carried out when the fault ends, and not before."""
    proxy.suffer(Fault.LATE)
    with pytest.raises(OSError):  # noqa: PT011
        ask(proxy, patience=0.2)
    assert not upstream.carried_out
    proxy.heal()
    assert upstream.reached(1)


@pytest.mark.parametrize("fault", [Fault.REFUSE, Fault.HANG])
def test_a_rejected_or_hanging_request_never_arrives(proxy: FaultyProxy, upstream: Upstream, fault: Fault) -> None:
    """The end of the fault does not change this, but the next request arrives."""
    proxy.suffer(fault)
    with pytest.raises(OSError):  # noqa: PT011
        ask(proxy, patience=0.2)
    proxy.heal()
    assert ask(proxy, b"next") == b"next"
    assert upstream.carried_out == [b"next"]


def test_a_throttle_is_the_response_of_the_service(proxy: FaultyProxy, upstream: Upstream) -> None:
    """It is HTTP 400 with the name of the exception, and nothing is carried out."""
    proxy.suffer(Fault.THROTTLE)
    with pytest.raises(urllib.error.HTTPError) as caught:
        ask(proxy)
    assert caught.value.code == 400
    assert b"ProvisionedThroughputExceeded" in caught.value.read()
    caught.value.close()
    assert not upstream.carried_out


def test_a_fault_can_hit_a_share_of_the_requests(proxy: FaultyProxy) -> None:
    """Here it hits half of them, drawn from the seed."""
    proxy.suffer(Fault.THROTTLE, share=0.5)
    failed = 0
    for _ in range(40):
        try:
            ask(proxy)
        except urllib.error.HTTPError as error:
            error.close()
            failed += 1
    assert failed == proxy.hurt
    assert 10 < failed < 30
