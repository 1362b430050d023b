"""How DynamoDB is reached, and what its errors mean.

A call is made once: botocore's own retries would sleep inside a renewal. While the worker runs nothing is an operator's
mistake any more, not even a permission that is taken away: it may be given back, so all is retried.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError

from consumer.errors import ConfigurationError, LeaseTableUnavailable
from consumer.leases import Scope
from consumer.places import check_endpoint

CONNECTIONS = 64  # kept open at most; shards checkpoint from threads of their own
REFUSED = "ConditionalCheckFailedException"
THROTTLED = ("ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded")
BROKEN = ("InternalServerError", "ServiceUnavailable", "ServiceUnavailableException")
DENIED = {
    "UnrecognizedClientException": "the credentials are not valid",
    "InvalidSignatureException": "the credentials are not valid, or this machine's clock is wrong",
    "ExpiredTokenException": "the credentials have expired",
}
ADVICE = {
    "NoCredentialsError": "no AWS credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "NoRegionError": "no AWS region: give --region, AWS_REGION, or dynamodb:TABLE?region=…",
}


def dynamodb_client(scope: Scope, region: str | None, endpoint_url: str | None) -> Any:
    """A client whose calls end within `scope.timeout`, answered or not.

    Raises:
        ConfigurationError: no region, no such profile, or an endpoint that is no URL.
    """
    config = Config(
        retries={"total_max_attempts": 1},
        connect_timeout=scope.timeout / 3,
        read_timeout=scope.timeout * 2 / 3,
        max_pool_connections=CONNECTIONS,
        tcp_keepalive=True,
        parameter_validation=False,
    )
    try:
        client = boto3.Session().client(
            "dynamodb",
            region_name=region or scope.region,
            endpoint_url=endpoint_url or scope.endpoint_url,
            config=config,
        )
    except (BotoCoreError, ValueError) as error:
        raise ConfigurationError(_advice(error)) from None
    check_endpoint("DynamoDB", client.meta.endpoint_url)
    return client


def code_of(error: ClientError) -> str:
    """The service's name for what went wrong."""
    return str(error.response.get("Error", {}).get("Code", "unknown"))


class Calls:
    """Translates what a call raises, for one table."""

    def __init__(self, client: Any, table: str) -> None:
        self._client, self._table = client, table

    @contextmanager
    def running(self, action: str) -> Iterator[None]:
        """Around a call of the running worker: everything is retried."""
        try:
            yield
        except ClientError as error:
            raise LeaseTableUnavailable(f"lease table {self._table}: {action}: {code_of(error)}") from None
        except BotoCoreError as error:
            raise self._unreachable(action, error) from None

    @contextmanager
    def checking(self, action: str) -> Iterator[None]:
        """Around a call of the check: what waiting will not mend is the operator's."""
        try:
            yield
        except ClientError as error:
            raise self._refused(action, error) from None
        except (ConnectionError, HTTPClientError) as error:
            raise self._unreachable(action, error) from None
        except BotoCoreError as error:
            raise ConfigurationError(f"lease table {self._table}: {_advice(error)}") from None

    def member(self, answer: Mapping[str, Any], name: str, action: str) -> Any:
        """Return what a response must have: an absent member says nothing, least of all that there are no rows.

        Raises:
            LeaseTableUnavailable: it is not there.
        """
        if answer.get(name) is None:
            raise self.incomplete(action)
        return answer[name]

    def incomplete(self, action: str) -> LeaseTableUnavailable:
        """What to raise for a response that lacks what it must have."""
        where = self._client.meta.endpoint_url
        return LeaseTableUnavailable(f"lease table {self._table}: {action}: the response is incomplete at {where}")

    def _refused(self, action: str, error: ClientError) -> Exception:
        code, where = code_of(error), f"lease table {self._table}"
        if code == "AccessDeniedException":
            return ConfigurationError(f"{where}: the credentials lack dynamodb:{action} on table/{self._table}")
        if code in DENIED:
            return ConfigurationError(f"{where}: {DENIED[code]}")
        if code in ("ValidationException", "ResourceNotFoundException", "UnknownOperationException"):
            return ConfigurationError(f"{where}: {action} is refused: {_first_line(error)}")
        return LeaseTableUnavailable(f"{where}: {action}: {code}")

    def _unreachable(self, action: str, error: Exception) -> LeaseTableUnavailable:
        where = self._client.meta.endpoint_url
        return LeaseTableUnavailable(f"lease table {self._table}: {action}: {type(error).__name__} at {where}")


def _advice(error: Exception) -> str:
    """What an operator can do about an error of botocore's own."""
    return ADVICE.get(type(error).__name__, f"AWS: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Message") or code_of(error)).splitlines()[0]
    return str(error).splitlines()[0]
