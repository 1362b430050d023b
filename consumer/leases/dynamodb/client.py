"""Create the DynamoDB client. It makes each call once: botocore's retries would sleep inside a renewal."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from botocore.config import Config
from botocore.exceptions import ClientError

from consumer.aws.access import Access
from consumer.aws.reasons import code_of
from consumer.leases import Scope

CONNECTIONS = 64  # kept open at most; shards checkpoint from several threads
REFUSED = "ConditionalCheckFailedException"


def dynamodb_client(scope: Scope, region: str | None, endpoint_url: str | None, access: Access | None = None) -> Any:
    """Return a client whose calls end within `scope.timeout` seconds, by a response or a timeout.

    Raises:
        ConfigurationError: the region or profile is missing, or the endpoint is not a URL.
    """
    config = Config(
        retries={"total_max_attempts": 1},
        connect_timeout=scope.timeout / 3,
        read_timeout=scope.timeout * 2 / 3,
        max_pool_connections=CONNECTIONS,
        tcp_keepalive=True,
        parameter_validation=False,
    )
    return (access or Access()).client("dynamodb", region or scope.region, endpoint_url or scope.endpoint_url, config)


@contextmanager
def ignore_failed_condition() -> Iterator[None]:
    """Continue after a write whose condition was not met: another worker has changed the row."""
    try:
        yield
    except ClientError as error:
        if code_of(error) != REFUSED:
            raise
