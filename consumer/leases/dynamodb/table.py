"""A lease table on DynamoDB that Amazon's KCL can read and write: `dynamodb:[TABLE][?option=value]`.

Each change is one conditional update. Several changes, such as all renewals of a worker, are sent 25 per call with
PartiQL's BatchExecuteStatement. That takes a seventh of the CPU and half of the time of single calls. If the service or
the policy does not allow PartiQL, they are sent one by one.
"""

import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from consumer.aws.calls import Calls
from consumer.aws.codes import THROTTLED, TRANSIENT
from consumer.aws.reasons import code_of
from consumer.errors import ConfigurationError, ConsumerError, LeaseTableUnavailable
from consumer.leases import Change, Halt, Lease, PartlyWritten, Scope, Written
from consumer.leases.dynamodb.client import REFUSED, dynamodb_client, ignore_failed_condition
from consumer.leases.dynamodb.expressions import Update, expressions, halt_update, statement, unchanged, update_of
from consumer.leases.dynamodb.item import (
    CHECKPOINT,
    KEY,
    SHARD_END,
    Item,
    MultiStream,
    is_lease,
    item_of,
    lease_of,
)
from consumer.leases.dynamodb.kcl_workers import KclWorkers
from consumer.leases.dynamodb.provisioning import Options, Table
from consumer.leases.dynamodb.reads import Reads
from consumer.leases.lease import UnreadableRow
from consumer.urls import Url

NAME = re.compile(r"[A-Za-z0-9_.-]{3,255}")  # AWS, CreateTable
MOST_READ = 100  # AWS, BatchGetItem
MOST_WRITTEN = 25  # AWS, BatchExecuteStatement
STATEMENT_REFUSED = "ConditionalCheckFailed"
T = TypeVar("T")
Result = Written | ConsumerError  # the result of one change, or the error that made it unknown


def connect(url: Url, options: Options, scope: Scope) -> "DynamoDbLeaseTable":
    """Return the table for a URL. Nothing is sent yet; `check` creates the table."""
    name = url.path or scope.application
    if not NAME.fullmatch(name):
        raise ConfigurationError(
            f"{url.label} dynamodb: {name!r} is not a table name (3 to 255 letters, digits, and _ . -);"
            " name one: dynamodb:TABLE"
        )
    client = dynamodb_client(scope, options.region, options.endpoint_url, scope.access)
    return DynamoDbLeaseTable(client, name, options)


class DynamoDbLeaseTable:
    """The leases of one application, one item each. A KCL may keep other items in the same table."""

    def __init__(
        self,
        client: Any,
        name: str,
        options: Options,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client, self._name = client, name
        self._calls = Calls(f"lease table {name}", client, LeaseTableUnavailable)
        self._table = Table(client, name, options, self._calls, sleep)
        self._reads = Reads(client, name, self._calls, sleep)
        self._workers = KclWorkers(client, name, clock)
        self._unreadable: Mapping[str, str] = {}
        self._entity_types = False  # whether the items have an entityType, as KCL 3.5 writes it
        self._batches = False

    def exists(self) -> bool:
        return self._table.exists()

    def check(self) -> None:
        with self._calls.checking("DescribeTable"):
            self._table.check()
        self._batches = self._takes_batches()
        with self._calls.checking("Scan"):
            items = list(self._reads.items())
            several = [item[KEY]["S"] for item in items if is_lease(item) and isinstance(_read(item), MultiStream)]
        if several:
            raise ConfigurationError(
                f"table {self._name} holds leases of several streams ({several[0]!r}): this worker reads one;"
                " name another table"
            )

    def scan(self) -> Sequence[Lease]:
        with self._calls.running("Scan"):
            items = list(self._reads.items())
            rows = {item[KEY]["S"]: _read(item) for item in items if is_lease(item)}
        self._unreadable = {key: str(row) for key, row in rows.items() if isinstance(row, UnreadableRow)}
        self._entity_types = any("entityType" in item for item in items if is_lease(item))
        leases = [row for row in rows.values() if isinstance(row, Lease)]
        self._workers.observe(items, leases)
        return leases

    def _takes_batches(self) -> bool:
        """Return whether service and credentials allow PartiQL. Test it with a statement that changes nothing."""
        nothing = Update("-", {"cc_token": {"S": "-"}}, ("cc_wantedBy",), {KEY: None}, revives=True)
        with self._calls.checking("BatchExecuteStatement"):
            try:
                response = self._client.batch_execute_statement(Statements=[statement(self._name, nothing)])
            except ClientError as error:
                if code_of(error) in THROTTLED | TRANSIENT:
                    raise
                return False
            [response] = self._calls.member(response, "Responses", "BatchExecuteStatement") or [{}]
            return bool(response.get("Error", {}).get("Code") == STATEMENT_REFUSED)

    def unreadable(self) -> Mapping[str, str]:
        return self._unreadable

    def read(self, shard_ids: Collection[str]) -> Sequence[Lease]:
        read = [self._reads.some(keys) for keys in _chunks(dict.fromkeys(shard_ids), MOST_READ)]
        rows = [_read(item) for items in read for item in items]
        return [row for row in rows if isinstance(row, Lease)]

    def assignees(self) -> Collection[str]:
        return self._workers.alive()

    # Writing ---------------------------------------------------------------------------------------------------------

    def create(self, lease: Lease) -> None:
        item = item_of(lease) | ({"entityType": {"S": "LEASE"}} if self._entity_types else {})
        self._unless_refused(
            "PutItem",
            lambda: self._client.put_item(
                TableName=self._name, Item=item, ConditionExpression=f"attribute_not_exists({KEY})"
            ),
        )

    def want(self, lease: Lease, worker_id: str) -> None:
        seen = {"leaseOwner": None if lease.owner is None else {"S": lease.owner}, "cc_wantedBy": None}
        update = Update(lease.shard_id, {"cc_wantedBy": {"S": worker_id}}, (), seen, revives=True)
        self._unless_refused("UpdateItem", lambda: self._client.update_item(**expressions(self._name, update)))

    def answer_halt(self, lease: Lease, halt: Halt | None) -> bool:
        request = expressions(self._name, halt_update(lease, halt))
        return self._unless_refused("UpdateItem", lambda: self._client.update_item(**request))

    def delete(self, lease: Lease) -> None:
        values = {":ended": SHARD_END, ":counter": {"N": str(lease.counter)}}
        where = {
            "ConditionExpression": f"{CHECKPOINT} = :ended AND leaseCounter = :counter",
            "ExpressionAttributeValues": values,
        }
        self._unless_refused("DeleteItem", lambda: self._delete(lease, where))

    def remove(self, lease: Lease) -> bool:
        with self._calls.running("DeleteItem"):
            try:
                self._delete(lease, unchanged(lease))
                return True
            except ClientError as error:
                if code_of(error) != REFUSED:
                    raise
        return not self.read([lease.shard_id])

    def _delete(self, lease: Lease, where: Mapping[str, Any]) -> None:
        self._client.delete_item(TableName=self._name, Key={KEY: {"S": lease.shard_id}}, **where)

    def _unless_refused(self, action: str, call: Callable[[], object]) -> bool:
        with self._calls.running(action), ignore_failed_condition():
            call()
            return True
        return False

    def rewrite(self, changes: Sequence[Change]) -> Sequence[Written]:
        results: list[Result] = []
        try:
            results.extend(self._singly(changes, revive=True))
        except LeaseTableUnavailable as error:
            results.extend([error] * (len(changes) - len(results)))
        return _written(results)

    def write(self, changes: Sequence[Change]) -> Sequence[Written]:
        results: list[Result] = []
        try:
            for some in _chunks(changes, MOST_WRITTEN):
                results.extend(self._together(some) if self._batches and len(some) > 1 else self._singly(some))
        except LeaseTableUnavailable as error:
            results.extend([error] * (len(changes) - len(results)))
        return _written(results)

    def _singly(self, changes: Sequence[Change], revive: bool = False) -> Iterator[Result]:
        for change in changes:
            request = expressions(self._name, update_of(change, revive))
            with self._calls.running("UpdateItem"):
                try:
                    response = self._client.update_item(
                        ReturnValues="ALL_NEW", ReturnValuesOnConditionCheckFailure="ALL_OLD", **request
                    )
                except ClientError as error:
                    if code_of(error) not in (REFUSED, *THROTTLED):
                        raise
                    response = error.response
            yield self._result(
                change, response.get("Attributes"), response.get("Item"), response.get("Error", {}).get("Code")
            )

    def _together(self, changes: Sequence[Change]) -> Iterator[Result]:
        statements = [statement(self._name, update_of(change)) for change in changes]
        with self._calls.running("BatchExecuteStatement"):
            response = self._client.batch_execute_statement(Statements=statements)
            responses = self._calls.member(response, "Responses", "BatchExecuteStatement")
            if len(responses) != len(changes):
                raise self._calls.incomplete("BatchExecuteStatement")
        for change, response in zip(changes, responses, strict=True):
            error = response.get("Error", {})
            yield self._result(change, response.get("Item"), error.get("Item"), error.get("Code"))

    def _result(self, change: Change, made: Item | None, found: Item | None, code: str | None) -> Result:
        """Return the result of a change, or the error if it is unknown whether the change was made.

        `made` is the item after the change, `found` the item that failed the condition. Some emulators return neither,
        so read the row again.
        """
        if code is not None and code not in (REFUSED, STATEMENT_REFUSED):
            return self._calls.rejected(code)
        if item := made or found:
            shown = _read(item)
            return Written(shown if isinstance(shown, Lease) else None, done=code is None)
        row = next(iter(self.read([change.after.shard_id])), None)
        ours = row is not None and (row.counter, row.token) == (change.after.counter, change.after.token)
        return Written(row, done=code is None and ours)

    def close(self) -> None:
        self._client.close()


def _read(item: Item) -> Lease | UnreadableRow:
    try:
        return lease_of(item)
    except UnreadableRow as error:
        return error


def _written(results: Sequence[Result]) -> Sequence[Written]:
    """Return the results if all are known; otherwise raise the first error, with the results that are known."""
    given = [result for result in results if isinstance(result, Written)]
    if len(given) == len(results):
        return given
    why = next(result for result in results if not isinstance(result, Written))
    if given:
        raise PartlyWritten(why, [result if isinstance(result, Written) else None for result in results])
    raise why


def _chunks(things: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(things)
    while chunk := list(islice(rest, size)):
        yield chunk
