"""Amazon Kinesis, polled with botocore. Retries are the engine's: a call is made once, and its error translated."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError

from consumer.errors import ConfigurationError, IteratorExpired, ShardGone, StreamUnavailable, Throttled
from consumer.places import check_endpoint
from consumer.records import Fetched, Position, Rank, Record, Shard, StreamSummary
from consumer.streams.answers import Answer, TypedAnswers

MOST_RECORDS = 10_000  # AWS GetRecords: at most 10,000 records or 10 MiB an answer
FIRST_RECORDS = 20  # asked for while nothing is known of their size: aggregates of the KPL have up to 50 KB
# Bytes of data asked for at once. A shard gives 2 MB a second whatever it is asked for: after a larger answer AWS
# refuses the next reads, and while it is read it takes four times its size of memory, for each shard that is behind.
ENOUGH = 2 * 1024 * 1024
CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 10.0  # without a byte; an answer of 10 MiB may take longer in all
ARN = re.compile(r"arn:[a-z-]+:kinesis:([a-z0-9-]+):\d{12}:stream/[A-Za-z0-9_.-]{1,128}")
NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
THROTTLED = {"ProvisionedThroughputExceededException", "LimitExceededException", "KMSThrottlingException"}
DENIED = {
    "AccessDeniedException": "the credentials lack a permission (kinesis:{action})",
    "UnrecognizedClientException": "the credentials are not valid",
    "InvalidSignatureException": "the credentials are not valid, or this machine's clock is wrong",
    "ExpiredTokenException": "the credentials have expired",
}


def kinesis_client(stream: str, region: str | None, endpoint_url: str | None, connections: int) -> Any:
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
        read_timeout=READ_TIMEOUT,
        max_pool_connections=connections,
        tcp_keepalive=True,
        user_agent=core.user_agent(),  # else it is made anew twice a request: a tenth of what a poll costs
    )
    try:
        core.register_component("response_parser_factory", TypedAnswers())
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
    """One stream, by name or ARN. It asks for as many records as came to `ENOUGH` bytes in its last answer."""

    def __init__(self, stream: str, client: Any) -> None:
        self._client = client
        self._records = FIRST_RECORDS
        self.name = stream.rpartition("/")[2]
        self._endpoint = client.meta.endpoint_url
        self._target = {"StreamARN": stream} if stream.startswith("arn:") else {"StreamName": stream}

    def summary(self) -> StreamSummary:
        with self._asking("DescribeStreamSummary"):
            answer = self._client.describe_stream_summary(**self._target)
        described = answer["StreamDescriptionSummary"]
        return StreamSummary(
            self.name,
            described["StreamStatus"] in ("ACTIVE", "UPDATING"),
            described["StreamCreationTimestamp"].astimezone(UTC),
            _date(answer["ResponseMetadata"]["HTTPHeaders"].get("date")),
            described.get("RetentionPeriodHours", 24) * 3600.0,
        )

    def shards(self) -> Sequence[Shard]:
        with self._asking("ListShards"):
            answer = self._client.list_shards(MaxResults=1000, **self._target)
            shards = list(answer["Shards"])
            while token := answer.get("NextToken"):
                # AWS refuses the stream's name beside a token, and wants its ARN all the same where that is used.
                target = {name: value for name, value in self._target.items() if name == "StreamARN"}
                answer = self._client.list_shards(MaxResults=1000, NextToken=token, **target)
                shards += answer["Shards"]
        return [_shard(shard) for shard in shards]

    def open(self, shard_id: str, position: Position) -> str:
        where: dict[str, Any] = {"ShardIteratorType": position.rank.name}
        if position.rank is Rank.SEQUENCE:
            where = {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": str(position.sequence)}
        elif position.at is not None:
            where["Timestamp"] = position.at
        with self._asking("GetShardIterator", reading=True):
            answer = self._client.get_shard_iterator(ShardId=shard_id, **where, **self._target)
        return str(answer["ShardIterator"])

    def fetch(self, iterator: str) -> Fetched:
        arn = {name: value for name, value in self._target.items() if name == "StreamARN"}
        with self._asking("GetRecords", reading=True):
            answer: Answer = self._client.get_records(ShardIterator=iterator, Limit=self._records, **arn)["Answer"]
        records = [
            Record(int(r.SequenceNumber), r.PartitionKey, r.ApproximateArrivalTimestamp, r.Data) for r in answer.Records
        ]
        children = [Shard(child.ShardId, tuple(child.ParentShards)) for child in answer.ChildShards or ()]
        size = sum(len(record.data) for record in records)
        if size:
            self._records = max(1, min(MOST_RECORDS, ENOUGH * len(records) // size))
        return Fetched(records, answer.NextShardIterator or None, answer.MillisBehindLatest or 0, children, size)

    def close(self) -> None:
        self._client.close()

    @contextmanager
    def _asking(self, action: str, reading: bool = False) -> Iterator[None]:
        """Translate what botocore raises. While reading, nothing is an operator's mistake any more: all is retried."""
        try:
            yield
        except ClientError as error:
            raise self._translated(error, action, reading) from None
        except (ConnectionError, HTTPClientError) as error:
            raise StreamUnavailable(
                f"the stream does not answer at {self._endpoint}: {action}: {type(error).__name__}"
            ) from None
        except BotoCoreError as error:
            raise (StreamUnavailable if reading else ConfigurationError)(_advice(error)) from None

    def _translated(self, error: ClientError, action: str, reading: bool) -> Exception:
        code = error.response.get("Error", {}).get("Code", "unknown")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in THROTTLED:
            return Throttled(f"{action}: {code}")
        if code == "ExpiredIteratorException" or (action == "GetRecords" and code == "InvalidArgumentException"):
            return IteratorExpired()
        if code == "ResourceNotFoundException":
            return ShardGone() if reading else self._absent()
        if code in DENIED and not reading:
            return ConfigurationError(f"stream {self.name}: {DENIED[code].format(action=action)}")
        if status < 500 and not reading and code != "ResourceInUseException":
            return ConfigurationError(f"stream {self.name}: {action} is refused at {self._endpoint}: {code}")
        return StreamUnavailable(f"{action}: {code} at {self._endpoint}")

    def _absent(self) -> ConfigurationError:
        region = self._client.meta.region_name
        return ConfigurationError(
            f"there is no stream {self.name!r} in {region} at {self._endpoint}:"
            " check the name, --region and --endpoint-url"
        )


def _shard(shard: dict[str, Any]) -> Shard:
    numbers, keys = shard["SequenceNumberRange"], shard["HashKeyRange"]
    parents = (shard.get("ParentShardId"), shard.get("AdjacentParentShardId"))
    return Shard(
        shard["ShardId"],
        tuple(parent for parent in parents if parent),
        (int(keys["StartingHashKey"]), int(keys["EndingHashKey"])),
        int(numbers["StartingSequenceNumber"]),
        closed=numbers.get("EndingSequenceNumber") is not None,
    )


def _date(header: str | None) -> datetime:
    return parsedate_to_datetime(header) if header else datetime.now(UTC).replace(microsecond=0)


def _advice(error: Exception) -> str:
    """What an operator can do about an error of botocore's own."""
    advice = {
        "NoCredentialsError": "no AWS credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        "NoRegionError": "no AWS region: give --region, AWS_REGION, or the stream's ARN",
    }
    return advice.get(type(error).__name__, f"AWS: {str(error).splitlines()[0]}")
