"""Handle responses of DynamoDB that do not show the row, for both kinds of writes."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders

from consumer.leases import Change, Lease, WorkerIdentity, Written
from consumer.leases import lease as steps
from consumer.leases.dynamodb.item import item_of
from consumer.leases.dynamodb.provisioning import Options
from consumer.leases.dynamodb.table import DynamoDbLeaseTable
from tests.integration.workers import client

NOWHERE = "http://127.0.0.1:9"
ME, SECOND_LIFE, PEER = WorkerIdentity("me", "1"), WorkerIdentity("me", "2"), WorkerIdentity("peer", "1")
BEFORE = [Lease("a"), Lease("b")]
CHANGES = [Change(row, steps.taken(row, ME)) for row in BEFORE]
AFTER = CHANGES[0].after


class SilentStore:
    """A store that responds with 200 and no item. A read returns `there`."""

    def __init__(self) -> None:
        self.there: Lease | None = None
        self.reads = 0
        self.client = client("dynamodb", NOWHERE)
        self.client.meta.events.register("before-call.dynamodb", self.answer)

    def answer(self, model: Any, params: dict[str, Any], **_: Any) -> tuple[Any, dict[str, Any]]:
        """Send nothing."""
        response = AWSResponse(NOWHERE, 200, HTTPHeaders(), None)
        if model.name == "BatchExecuteStatement":
            return response, {"Responses": [{} for _ in json.loads(params["body"])["Statements"]]}
        if model.name == "BatchGetItem":
            self.reads += 1
            return response, {"Responses": {"leases": [item_of(self.there)] if self.there else []}}
        return response, {}


@pytest.fixture(scope="module")
def store() -> Iterator[SilentStore]:
    taciturn = SilentStore()
    yield taciturn
    taciturn.client.close()


def singly(table: DynamoDbLeaseTable) -> Written:
    [written] = table.write(CHANGES[:1])
    return written


def together(table: DynamoDbLeaseTable) -> Written:
    table._batches = True
    return table.write(CHANGES)[0]


@pytest.mark.parametrize("way", [singly, together])
@pytest.mark.parametrize(
    ("there", "done"),
    [
        (AFTER, True),
        (replace(AFTER, wanted_by="peer"), True),  # requested since then
        (steps.taken(BEFORE[0], PEER), False),  # the same counter, but a peer's token
        (steps.taken(BEFORE[0], SECOND_LIFE), False),  # the same counter and id, but another process
        (replace(AFTER, counter=AFTER.counter + 1), False),  # a KCL has written since then
        (steps.taken(AFTER, PEER), False),
        (steps.renewed(AFTER, ME, None), False),  # ours, but not the result of this change
        (BEFORE[0], False),  # nothing was written
        (None, False),
    ],
)
def test_a_success_without_the_row_is_checked_by_reading_our_token(
    store: SilentStore, way: Callable[[DynamoDbLeaseTable], Written], there: Lease | None, done: bool
) -> None:
    """Only a row with our token and counter was written by us."""
    store.there, store.reads = there, 0
    assert way(DynamoDbLeaseTable(store.client, "leases", Options())) == Written(there, done)
    assert store.reads
