"""Check that repeated requests are those of botocore's client, and that their errors are, too."""

import json
from collections.abc import Iterator
from typing import Any

import botocore.session
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.exceptions import EndpointConnectionError

from consumer.aws.repeated_call import OWN_HEADERS, RepeatedCall
from consumer.errors import IncompleteResponse
from consumer.streams.response_parser import TypedResponses, parser_of

URL = "http://127.0.0.1:9"
RECORD = {"SequenceNumber": "1", "Data": "QQ==", "PartitionKey": "k", "ApproximateArrivalTimestamp": 1.7e9}


class Service:
    """Answer the requests of a client before they are sent, and keep them."""

    def __init__(self, client: Any) -> None:
        self.requests: list[Any] = []
        self.status, self.body = 200, json.dumps({"Records": [RECORD]}).encode()
        client.meta.events.register("before-send.kinesis", self)

    def __call__(self, request: Any, **_: Any) -> AWSResponse | None:
        self.requests.append(request)
        if self.status == 0:
            return None
        headers = HTTPHeaders.from_dict({"x-amzn-RequestId": "id"})
        return AWSResponse(request.url, self.status, headers, self)

    def stream(self) -> Iterator[bytes]:
        """Yield the body of a response."""
        yield self.body


@pytest.fixture
def client() -> Iterator[Any]:
    """Return a client whose session has our response parser."""
    session = botocore.session.Session()
    session.set_credentials("access", "secret", "token")
    session.register_component("response_parser_factory", TypedResponses())
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=0.1)
    made = session.create_client("kinesis", region_name="us-east-1", endpoint_url=URL, config=config)
    yield made
    made.close()


@pytest.fixture
def service(client: Any) -> Service:
    return Service(client)


@pytest.fixture
def call(client: Any, service: Service) -> RepeatedCall:
    """Return a call that has sent its first request."""
    made = RepeatedCall(client, "GetRecords", parser_of(client))
    made(ShardIterator="first", Limit=1)
    return made


def test_a_repeated_request_is_the_one_of_the_client(call: RepeatedCall, client: Any, service: Service) -> None:
    """It has the same URL, body and headers, and a signature of the same headers."""
    call(ShardIterator="it", Limit=7)
    client.get_records(ShardIterator="it", Limit=7)
    mine, theirs = service.requests[-2:]
    assert (mine.method, mine.url, json.loads(mine.body)) == (theirs.method, theirs.url, json.loads(theirs.body))
    kept = [
        {n: v for n, v in one.headers.items() if n not in (*OWN_HEADERS, "Content-Length")} for one in (mine, theirs)
    ]
    assert kept[0].keys() == kept[1].keys()
    for own in ("X-Amz-Date", "X-Amz-Security-Token", "Authorization", "Content-Length"):
        assert own in mine.headers
    assert b"SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target" in _bytes(mine)


def _bytes(request: Any) -> bytes:
    signature = request.headers["Authorization"]
    return signature if isinstance(signature, bytes) else signature.encode()


def test_a_repeated_response_is_parsed_by_our_decoder(call: RepeatedCall) -> None:
    """The records are those of the response."""
    [record] = call(ShardIterator="it")["Response"].Records
    assert (record.sequence, record.data) == (1, b"A")


def test_a_response_that_is_not_usable_is_rejected(call: RepeatedCall, service: Service) -> None:
    """A proxy's page is not an empty response."""
    service.body = b"{}"
    with pytest.raises(IncompleteResponse):
        call(ShardIterator="it")


def test_an_error_is_the_one_of_the_client(call: RepeatedCall, client: Any, service: Service) -> None:
    """It has the class, the code, the message and the request id."""
    service.status = 400
    service.body = json.dumps({"__type": "ExpiredIteratorException", "message": "too old"}).encode()
    found = []
    for send in (call, client.get_records):
        with pytest.raises(client.exceptions.ExpiredIteratorException) as caught:
            send(ShardIterator="it")
        found.append(caught.value.response)
    mine, theirs = found
    assert mine["Error"] == theirs["Error"]
    assert mine["ResponseMetadata"]["RequestId"] == theirs["ResponseMetadata"]["RequestId"]


def test_handlers_of_responses_see_each_error(call: RepeatedCall, client: Any, service: Service) -> None:
    """Rejected credentials are noticed by such a handler."""
    seen: list[Any] = []
    client.meta.events.register(
        "response-received.kinesis",
        lambda parsed_response, exception, **_: seen.append(exception or parsed_response["Error"]["Code"]),
    )
    service.status, service.body = 400, b'{"__type": "ExpiredTokenException"}'
    with pytest.raises(client.exceptions.ClientError):
        call(ShardIterator="it")
    service.status = 0
    with pytest.raises(EndpointConnectionError):
        call(ShardIterator="it")
    assert seen[0] == "ExpiredTokenException"
    assert isinstance(seen[1], EndpointConnectionError)


def test_a_first_request_that_fails_does_not_matter(client: Any, service: Service) -> None:
    """Its form is known before it is sent."""
    service.status = 0
    call = RepeatedCall(client, "GetRecords", parser_of(client))
    with pytest.raises(EndpointConnectionError):
        call(ShardIterator="it")
    service.status = 200
    assert len(call(ShardIterator="it")["Response"].Records) == 1


def test_changed_credentials_sign_the_next_request(call: RepeatedCall, client: Any, service: Service) -> None:
    """They are asked for each request."""
    client._request_signer._credentials.access_key = "other"
    call(ShardIterator="it")
    assert b"Credential=other/" in _bytes(service.requests[-1])
