"""Amazon Kinesis, polled with botocore. Retries are the engine's: a call is made once, and its error translated."""

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import botocore.session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectionError,
    HTTPClientError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from consumer.errors import (
    ConfigurationError,
    IncompleteResponse,
    IteratorExpired,
    ReadTimedOut,
    ShardGone,
    StreamUnavailable,
    Throttled,
)
from consumer.places import check_endpoint
from consumer.records import Fetched, Position, Rank, Shard, StreamSummary
from consumer.streams import answers
from consumer.streams.moments import UNKNOWN, epoch_seconds, server_time

CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 10.0  # without a byte; an answer of 10 MiB may take longer in all
PATIENT_TIMEOUT = 30.0  # once an answer did not come within the other
MOST_PAGES = 1000  # of a listing, each of up to 1,000 shards
ARN = re.compile(r"arn:[a-z-]+:kinesis:([a-z0-9-]+):\d{12}:stream/[A-Za-z0-9_.-]{1,128}")
NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
THROTTLED = {"ProvisionedThroughputExceededException", "LimitExceededException", "KMSThrottlingException"}
DENIED = {
    "AccessDeniedException": "the credentials lack a permission (kinesis:{action})",
    "UnrecognizedClientException": "the credentials are not valid",
    "InvalidSignatureException": "the credentials are not valid, or this machine's clock is wrong",
    "ExpiredTokenException": "the credentials have expired",
}
# The stream is being made or changed; 300 seconds went by between two pages of a listing.
PASSING = {"ResourceInUseException", "ExpiredNextTokenException"}
TIMED_OUT = {408, 413, 504}  # said by proxies: the response was too slow, or too large for them
# Said when the stream is encrypted and the key cannot be used; GetRecords alone finds out.
READ_DENIED = {
    "KMSAccessDeniedException",
    "KMSDisabledException",
    "KMSInvalidStateException",
    "KMSNotFoundException",
    "KMSOptInRequired",
}


def kinesis_client(
    stream: str, region: str | None, endpoint_url: str | None, connections: int, read_timeout: float = READ_TIMEOUT
) -> Any:
    """A client for a stream's name or ARN; profiles, environment and endpoints as boto3 finds them.

    It is botocore's own, as boto3's is: boto3's session would load half of S3 first, 80 ms of CPU.

    Raises:
        ConfigurationError: no such name or ARN can be, no region, no such profile, or an endpoint that is no URL.
    """
    region = _region_of(stream) or region
    core = botocore.session.Session()
    config = Config(
        retries={"total_max_attempts": 1},
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=read_timeout,
        max_pool_connections=connections,
        tcp_keepalive=True,
        user_agent=core.user_agent(),  # else it is made anew twice a request: a tenth of what a poll costs
    )
    try:
        core.register_component("response_parser_factory", answers.TypedAnswers())
        client = core.create_client("kinesis", region_name=region, endpoint_url=endpoint_url, config=config)
        url = urlsplit(client.meta.endpoint_url)
        if url.scheme not in ("http", "https") or not url.hostname or url.port == 0:
            raise ValueError(f"Invalid endpoint: {client.meta.endpoint_url}")
        check_endpoint("Kinesis", client.meta.endpoint_url)
    except (BotoCoreError, ValueError) as error:
        raise ConfigurationError(_advice(error)) from None
    return client


def _region_of(stream: str) -> str | None:
    """The region in a stream's ARN; None for a name."""
    arn = ARN.fullmatch(stream)
    if arn is None and NAME.fullmatch(stream) is None:
        raise ConfigurationError(
            f"stream {stream!r}: give its name (letters, digits, _ . -) or arn:aws:kinesis:REGION:ACCOUNT:stream/NAME"
        )
    return arn[1] if arn else None


class KinesisStream:
    """One stream, by name or ARN. `patient_client` makes the client that waits longer, once it is needed."""

    def __init__(self, stream: str, client: Any, patient_client: Callable[[], Any] | None = None) -> None:
        self._client, self._patient_client = client, patient_client
        self._patient: Any = None
        self._making_patient = threading.Lock()
        self._has_read = False
        self.name = stream.rpartition("/")[2]
        self._endpoint = client.meta.endpoint_url
        self._target = {"StreamARN": stream} if stream.startswith("arn:") else {"StreamName": stream}

    def summary(self) -> StreamSummary:
        with self._asking("DescribeStreamSummary"):
            response = self._client.describe_stream_summary(**self._target)
        described = response["Answer"].StreamDescriptionSummary
        created_at = epoch_seconds(described.StreamCreationTimestamp)
        if created_at == UNKNOWN:
            raise IncompleteResponse("DescribeStreamSummary: the response does not say when the stream was created")
        return StreamSummary(
            self.name,
            described.StreamStatus in ("ACTIVE", "UPDATING"),
            datetime.fromtimestamp(created_at, UTC),
            server_time(response["ResponseMetadata"]["HTTPHeaders"].get("date")),
            (described.RetentionPeriodHours or 24) * 3600.0,
        )

    def shards(self) -> Sequence[Shard]:
        with self._asking("ListShards"):
            return list({shard.shard_id: shard for shard in self._listed()}.values())

    def _listed(self) -> Iterator[Shard]:
        # AWS refuses the stream's name beside a token, and wants its ARN all the same where that is used.
        arn = {name: value for name, value in self._target.items() if name == "StreamARN"}
        where: dict[str, str] = self._target
        tokens: set[str] = set()
        for _ in range(MOST_PAGES):
            page: answers.Listing = self._client.list_shards(MaxResults=1000, **where)["Answer"]
            yield from map(answers.shard_of, page.Shards)
            if not page.NextToken:
                return
            if page.NextToken in tokens:
                break
            tokens.add(page.NextToken)
            where = {"NextToken": page.NextToken, **arn}
        raise IncompleteResponse("ListShards: the pages have no end")

    def open(self, shard_id: str, position: Position) -> str:
        where: dict[str, Any] = {"ShardIteratorType": position.rank.name}
        if position.rank is Rank.SEQUENCE:
            where = {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": str(position.sequence)}
        elif position.at is not None:
            where["Timestamp"] = position.at
        with self._asking("GetShardIterator", reading=True):
            response = self._client.get_shard_iterator(ShardId=shard_id, **where, **self._target)
        iterator: str = response["Answer"].ShardIterator
        if not iterator:
            raise IncompleteResponse("GetShardIterator: the iterator is empty")
        return iterator

    def fetch(self, iterator: str, limit: int, patient: bool = False) -> Fetched:
        arn = {name: value for name, value in self._target.items() if name == "StreamARN"}
        client = self._waiting_longer() if patient else self._client
        with self._asking("GetRecords", reading=True):
            answer: answers.Records = client.get_records(ShardIterator=iterator, Limit=limit, **arn)["Answer"]
            fetched = answers.fetched_of(answer)
        self._has_read = True
        return fetched

    def _waiting_longer(self) -> Any:
        with self._making_patient:
            if self._patient is None and self._patient_client is not None:
                self._patient = self._patient_client()
            return self._patient or self._client

    def close(self) -> None:
        self._client.close()
        if self._patient is not None:
            self._patient.close()

    @contextmanager
    def _asking(self, action: str, reading: bool = False) -> Iterator[None]:
        """Translate what botocore raises. While reading, nothing is an operator's mistake any more: all is retried."""
        try:
            yield
        except ClientError as error:
            raise self._translated(error, action, reading) from None
        except (ReadTimeoutError, ResponseStreamingError, ConnectionClosedError) as error:
            cut_off = ReadTimedOut if action == "GetRecords" else StreamUnavailable
            raise cut_off(
                f"the stream does not answer in time at {self._endpoint}: {action}: {type(error).__name__}"
            ) from None
        except (ConnectionError, HTTPClientError) as error:
            raise StreamUnavailable(
                f"the stream does not answer at {self._endpoint}: {action}: {type(error).__name__}"
            ) from None
        except BotoCoreError as error:
            raise (StreamUnavailable if reading else ConfigurationError)(_advice(error)) from None
        except (ValueError, OverflowError) as error:
            raise IncompleteResponse(f"{action}: the response is odd: {type(error).__name__}") from None

    def _translated(self, error: ClientError, action: str, reading: bool) -> Exception:
        code = error.response.get("Error", {}).get("Code", "unknown")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in THROTTLED:
            return Throttled(f"{action}: {code}")
        if code == "ExpiredIteratorException" or (action == "GetRecords" and code == "InvalidArgumentException"):
            return IteratorExpired()
        if code == "ResourceNotFoundException":
            return ShardGone() if reading else self._absent()
        if status in TIMED_OUT and action == "GetRecords":
            return ReadTimedOut(f"{action}: {status} at {self._endpoint}")
        mistake = None if reading and self._has_read else self._mistake(error, action, reading)
        return mistake or StreamUnavailable(f"{action}: {code} at {self._endpoint}")

    def _mistake(self, error: ClientError, action: str, reading: bool) -> ConfigurationError | None:
        """What an operator has to mend: until the first record was read, a permission to read that is missing too."""
        code = error.response.get("Error", {}).get("Code", "unknown")
        if code in DENIED:
            return ConfigurationError(f"stream {self.name}: {DENIED[code].format(action=action)}")
        if reading and code in READ_DENIED:
            said = str(error.response["Error"].get("Message", "")).split("\n")[0]
            return ConfigurationError(f"stream {self.name}: {action} is denied: {code}: {said}")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if reading or status >= 500 or code in PASSING:
            return None
        return ConfigurationError(f"stream {self.name}: {action} is refused at {self._endpoint}: {code}")

    def _absent(self) -> ConfigurationError:
        region = self._client.meta.region_name
        return ConfigurationError(
            f"there is no stream {self.name!r} in {region} at {self._endpoint}:"
            " check the name, --region and --endpoint-url"
        )


def _advice(error: Exception) -> str:
    """What an operator can do about an error of botocore's own."""
    advice = {
        "NoCredentialsError": "no AWS credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        "NoRegionError": "no AWS region: give --region, AWS_REGION, or the stream's ARN",
    }
    return advice.get(type(error).__name__, f"AWS: {str(error).splitlines()[0]}")
