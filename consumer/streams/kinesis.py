"""Poll Amazon Kinesis with botocore. Make each call once and translate its error; the scheduler retries."""

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from botocore.config import Config

from consumer.aws.access import Access
from consumer.aws.calls import Calls, Meaning
from consumer.aws.codes import ADVICE, THROTTLED
from consumer.aws.network import host_of
from consumer.aws.reasons import Reason
from consumer.aws.repeated_call import RepeatedCall
from consumer.errors import (
    ConfigurationError,
    ConsumerError,
    IncompleteResponse,
    IteratorExpired,
    PositionUnknown,
    ReadTimedOut,
    ShardGone,
    StreamAbsent,
    StreamUnavailable,
    Throttled,
)
from consumer.records import Fetched, Position, PositionKind, Shard, StreamSummary
from consumer.streams import response_parser
from consumer.streams.times import UNKNOWN, epoch_seconds, server_time

CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 10.0  # seconds without a byte; a response of 10 MiB may take longer in total
PATIENT_TIMEOUT = 30.0  # seconds, after a read with READ_TIMEOUT has timed out
MOST_PAGES = 1000  # in a listing, each of up to 1,000 shards
ARN = re.compile(r"arn:[a-z-]+:kinesis:([a-z0-9-]+):\d{12}:stream/[A-Za-z0-9_.-]{1,128}")
NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
READS = ("GetShardIterator", "GetRecords")


def kinesis_client(
    stream: str,
    region: str | None,
    endpoint_url: str | None,
    connections: int,
    read_timeout: float = READ_TIMEOUT,
    access: Access | None = None,
) -> Any:
    """Return a client for a stream's name or ARN. Profiles, environment and endpoints are resolved by botocore.

    Raises:
        ConfigurationError: the name or ARN is invalid, the region or profile is missing, or the endpoint is not a URL.
    """
    region = _region_of(stream) or region
    access = access or Access()
    config = Config(
        retries={"total_max_attempts": 1},
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=read_timeout,
        max_pool_connections=connections,
        tcp_keepalive=True,
        user_agent=access.session.user_agent(),  # botocore would build it twice per request, 10 % of a poll's CPU
    )
    access.session.register_component("response_parser_factory", response_parser.TypedResponses())
    return access.client("kinesis", region, endpoint_url, config)


def _region_of(stream: str) -> str | None:
    """Return the region in a stream's ARN, or None for a name."""
    arn = ARN.fullmatch(stream)
    if arn is None and NAME.fullmatch(stream) is None:
        raise ConfigurationError(
            f"stream {stream!r}: give its name (letters, digits, _ . -) or arn:aws:kinesis:REGION:ACCOUNT:stream/NAME"
        )
    return arn[1] if arn else None


class KinesisStream:
    """One stream, by name or ARN. `patient_client` creates a client with a longer timeout on first use."""

    def __init__(self, stream: str, client: Any, patient_client: Callable[[], Any] | None = None) -> None:
        self._client, self._patient_client = client, patient_client
        self._patient: Any = None
        self._get_records = RepeatedCall(client, "GetRecords", response_parser.parser_of(client))
        self._making_patient = threading.Lock()
        self._has_read = False
        self.name = stream.rpartition("/")[2]
        self._calls = Calls(f"stream {self.name}", client, StreamUnavailable, self._meaning)
        self._target = {"StreamARN": stream} if stream.startswith("arn:") else {"StreamName": stream}

    def summary(self) -> StreamSummary:
        with self._calls.checking("DescribeStreamSummary"):
            response = self._client.describe_stream_summary(**self._target)
            described = response["Response"].StreamDescriptionSummary
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
        with self._calls.checking("ListShards"):
            return list({shard.shard_id: shard for shard in self._listed()}.values())

    def _listed(self) -> Iterator[Shard]:
        # AWS rejects a stream name together with a token, but requires the ARN if the first call had it.
        arn = {name: value for name, value in self._target.items() if name == "StreamARN"}
        where: dict[str, str] = self._target
        tokens: set[str] = set()
        for _ in range(MOST_PAGES):
            page: response_parser.Listing = self._client.list_shards(MaxResults=1000, **where)["Response"]
            yield from map(response_parser.shard_of, page.Shards)
            if not page.NextToken:
                return
            if page.NextToken in tokens:
                break
            tokens.add(page.NextToken)
            where = {"NextToken": page.NextToken, **arn}
        raise IncompleteResponse("ListShards: the service repeats its pages without an end")

    def open(self, shard_id: str, position: Position) -> str:
        where: dict[str, Any] = {"ShardIteratorType": position.kind.name}
        if position.kind is PositionKind.SEQUENCE:
            where = {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": str(position.sequence)}
        elif position.at is not None:
            where["Timestamp"] = position.at
        with self._calls.running("GetShardIterator"):
            response = self._client.get_shard_iterator(ShardId=shard_id, **where, **self._target)
            iterator: str = response["Response"].ShardIterator
            if not iterator:
                raise IncompleteResponse("GetShardIterator: the iterator is empty")
        return iterator

    def fetch(self, iterator: str, limit: int, patient: bool = False) -> Fetched:
        arn = {name: value for name, value in self._target.items() if name == "StreamARN"}
        call = self._waiting_longer() if patient else self._get_records
        with self._calls.running("GetRecords"):
            response: response_parser.Records = call(ShardIterator=iterator, Limit=limit, **arn)["Response"]
            fetched = response_parser.fetched_of(response)
        self._has_read = True
        return fetched

    def _waiting_longer(self) -> Any:
        """Return GetRecords of the patient client."""
        with self._making_patient:
            if self._patient is None and self._patient_client is not None:
                self._patient = self._patient_client()
            return (self._patient or self._client).get_records

    def close(self) -> None:
        self._client.close()
        if self._patient is not None:
            self._patient.close()

    def _meaning(self, action: str, found: Reason) -> Meaning:
        """Return the error class for a failure, or None for a plain StreamUnavailable."""
        if found.code in THROTTLED:
            return Throttled
        if found.malformed:
            return IncompleteResponse
        if action not in READS:
            return self._absent() if found.code == "ResourceNotFoundException" else None
        return self._read_meaning(action, found)

    def _read_meaning(self, action: str, found: Reason) -> type[ConsumerError] | None:
        if found.code == "ResourceNotFoundException":
            return ShardGone
        fetching = action == "GetRecords"
        if found.code == "ExpiredIteratorException" or (fetching and found.code == "InvalidArgumentException"):
            return IteratorExpired
        if found.code == "InvalidArgumentException":
            return PositionUnknown
        if found.cut_off and fetching:
            return ReadTimedOut
        # Before the first successful read, a missing permission is a mistake in the configuration.
        return ConfigurationError if found.code in ADVICE and not self._has_read else None

    def _absent(self) -> StreamAbsent:
        meta = self._client.meta
        return StreamAbsent(
            f"there is no stream {self.name!r} in {meta.region_name} at {host_of(meta.endpoint_url)}:"
            " check the name, --region and --endpoint-url"
        )
