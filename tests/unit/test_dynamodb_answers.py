"""What a lease table on DynamoDB makes of an answer that does not show the row, whichever way the change went out."""

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


class Taciturn:
    """A store that says 200 and nothing more; a read shows `there`."""

    def __init__(self) -> None:
        self.there: Lease | None = None
        self.reads = 0
        self.client = client("dynamodb", NOWHERE)
        self.client.meta.events.register("before-call.dynamodb", self.answer)

    def answer(self, model: Any, params: dict[str, Any], **_: Any) -> tuple[Any, dict[str, Any]]:
        """Nothing is sent."""
        response = AWSResponse(NOWHERE, 200, HTTPHeaders(), None)
        if model.name == "BatchExecuteStatement":
            return response, {"Responses": [{} for _ in json.loads(params["body"])["Statements"]]}
        if model.name == "BatchGetItem":
            self.reads += 1
            return response, {"Responses": {"leases": [item_of(self.there)] if self.there else []}}
        return response, {}


@pytest.fixture(scope="module")
def store() -> Iterator[Taciturn]:
    taciturn = Taciturn()
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
        (replace(AFTER, wanted_by="peer"), True),  # a wish since
        (steps.taken(BEFORE[0], PEER), False),  # the same counter, but a peer's token
        (steps.taken(BEFORE[0], SECOND_LIFE), False),  # the same counter and id, but another life
        (replace(AFTER, counter=AFTER.counter + 1), False),  # a KCL has written since
        (steps.taken(AFTER, PEER), False),
        (steps.renewed(AFTER, ME, None), False),  # ours, but it is not what this change made
        (BEFORE[0], False),  # nothing has happened
        (None, False),
    ],
)
def test_a_success_without_the_row_is_checked_against_our_token(
    store: Taciturn, way: Callable[[DynamoDbLeaseTable], Written], there: Lease | None, done: bool
) -> None:
    """The row is read, and only one that carries our token and counter was written by us."""
    store.there, store.reads = there, 0
    assert way(DynamoDbLeaseTable(store.client, "leases", Options())) == Written(there, done)
    assert store.reads
