"""Read items of the lease table, page by page and by key."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from consumer.aws.calls import Calls
from consumer.errors import LeaseTableUnavailable
from consumer.leases.dynamodb.item import KEY, Item
from consumer.runtime.backoff import RetryPolicy

# Retry unread keys with short waits, because the whole call must end within a sixth of the lease.
READ_TRIES, READ_RETRIES = 5, RetryPolicy(first=0.01, most=0.16)


class Reads:
    """Read from one table."""

    def __init__(self, client: Any, name: str, calls: Calls, sleep: Callable[[float], None]) -> None:
        self._client, self._name, self._calls, self._sleep = client, name, calls, sleep

    def items(self) -> Iterator[Item]:
        """Yield all items of the table, slightly out of date. The caller translates errors."""
        where: dict[str, Item] = {}
        while True:
            page = self._client.scan(TableName=self._name, **where)
            yield from self._calls.member(page, "Items", "Scan")
            following = page.get("LastEvaluatedKey")
            if not following:
                return
            if following == where.get("ExclusiveStartKey"):
                raise self._calls.incomplete("Scan")
            where = {"ExclusiveStartKey": following}

    def some(self, keys: Sequence[str]) -> list[Item]:
        """Return the current items with these keys, as many as one call may ask for.

        Raises:
            LeaseTableUnavailable: the service does not return all of them.
        """
        wanted = {self._name: {"Keys": [{KEY: {"S": key}} for key in keys], "ConsistentRead": True}}
        found: list[Item] = []
        for attempt in range(READ_TRIES):
            with self._calls.running("BatchGetItem"):
                response = self._client.batch_get_item(RequestItems=wanted)
                wanted = response.get("UnprocessedKeys") or {}
                read = self._calls.member(response, "Responses", "BatchGetItem")
                # If all keys were read, the response must name the table: otherwise missing rows would count as
                # deleted.
                found += read.get(self._name, []) if wanted else self._calls.member(read, self._name, "BatchGetItem")
            if not wanted:
                return found
            self._sleep(READ_RETRIES.longest(attempt))
        raise LeaseTableUnavailable(f"lease table {self._name}: BatchGetItem leaves keys unread")
