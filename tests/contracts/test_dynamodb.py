"""Test what only the DynamoDB table does: the table itself, permissions, time-outs, and KCL workers on it."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse

from consumer.errors import ConfigurationError, LeaseTableUnavailable
from consumer.leases import Change, Lease, PartlyWritten, Scope, WorkerIdentity
from consumer.leases import lease as steps
from consumer.leases.dynamodb import table as dynamodb
from consumer.leases.dynamodb.client import dynamodb_client
from consumer.leases.dynamodb.item import is_lease, item_of
from consumer.leases.dynamodb.provisioning import Options
from consumer.leases.dynamodb.table import DynamoDbLeaseTable
from consumer.records import SHARD_END, Position
from consumer.urls import options_of, parse
from tests.contracts.conftest import TIMEOUT, dynamodb_table
from tests.unit.clocks import FakeClock

GOLDEN = Path(__file__).parents[1] / "golden" / "kcl"
ME = WorkerIdentity("me", "f00d")
ACTIONS = ("DescribeTable", "CreateTable", "Scan", "BatchGetItem", "PutItem", "UpdateItem", "DeleteItem")


@pytest.fixture
def client(dynamodb_local_server: str) -> Iterator[Any]:
    """Provide a worker's client that the test may change."""
    made = dynamodb_client(Scope("calls", "twilio-events", TIMEOUT, "us-east-1", dynamodb_local_server), None, None)
    yield made
    made.close()


@pytest.fixture
def table(client: Any, name: str) -> DynamoDbLeaseTable:
    made = DynamoDbLeaseTable(client, name, Options())
    made.check()
    return made


def refuse(client: Any, action: str, code: str, status: int = 400) -> None:
    """Fail every call of an action with an error, without sending it."""

    class Body:
        def stream(self, *_: object) -> Iterator[bytes]:
            yield json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "no"}).encode()

    headers: Any = {}

    def answer(**_: object) -> AWSResponse:
        return AWSResponse("http://127.0.0.1/", status, headers, Body())

    client.meta.events.register(f"before-send.dynamodb.{action}", answer)


def alter(client: Any, action: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the responses to an action after it was carried out."""
    client.meta.events.register(f"after-call.dynamodb.{action}", lambda parsed, **_: change(parsed))


def put_rows(table: DynamoDbLeaseTable, count: int) -> list[Lease]:
    for number in range(count):
        table.create(Lease(f"shardId-{number:012}"))
    return sorted(table.scan(), key=lambda row: row.shard_id)


# The table -----------------------------------------------------------------------------------------------------------


def test_the_default_table_is_named_after_the_application(store: str) -> None:
    """It is created on demand, pays per request, and has KCL's key. Creating it again is not an error."""
    table = dynamodb_table(store)
    table.check()
    table.check()
    described = table._client.describe_table(TableName="calls")["Table"]
    assert described["KeySchema"] == [{"AttributeName": "leaseKey", "KeyType": "HASH"}]
    assert described["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    table.close()


def test_a_new_table_gets_the_requested_options(moto_server: str, name: str) -> None:
    """These are tags, deletion protection and point-in-time recovery. Checking it again changes nothing."""
    options = "&tags=team:calls,stage:live&deletion_protection=true&point_in_time_recovery=true"
    table = dynamodb_table(moto_server, name, more=options)
    table.check()
    table.check()
    ask = table._client
    described = ask.describe_table(TableName=name)["Table"]
    assert described["DeletionProtectionEnabled"] is True
    tags = ask.list_tags_of_resource(ResourceArn=described["TableArn"])["Tags"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"team": "calls", "stage": "live"}
    backups = ask.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
    assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"
    table.close()


def test_an_option_that_the_store_does_not_support_is_one_line(dynalite_server: str, name: str) -> None:
    """Waiting does not help."""
    with pytest.raises(ConfigurationError, match="UpdateContinuousBackups is refused at "):
        dynamodb_table(dynalite_server, name, more="&point_in_time_recovery=true").check()


def test_a_table_with_another_key_is_rejected(client: Any, raw: Any, name: str) -> None:
    """It may be another program's data, so nothing is written to it."""
    raw.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "N"}],
        BillingMode="PAY_PER_REQUEST",
    )
    with pytest.raises(ConfigurationError, match=rf"table {name} is not a lease table: its key is id \(N\)"):
        DynamoDbLeaseTable(client, name, Options()).check()


@pytest.mark.parametrize("action", ACTIONS)
def test_a_missing_permission_is_named(client: Any, name: str, action: str) -> None:
    """The line has the action and the table, and comes before any read."""
    refuse(client, action, "AccessDeniedException")
    with pytest.raises(
        ConfigurationError, match=rf"table {name}: dynamodb:{action} is denied at http\S+: Acc\w+: no: "
    ):
        DynamoDbLeaseTable(client, name, Options()).check()


@pytest.mark.parametrize("action", [*ACTIONS, "BatchExecuteStatement"])
def test_a_throttled_check_is_retried(client: Any, name: str, action: str) -> None:
    """It raises `Retryable`, because throttling proves nothing."""
    refuse(client, action, "ThrottlingException")
    with pytest.raises(LeaseTableUnavailable, match="ThrottlingException"):
        DynamoDbLeaseTable(client, name, Options()).check()


def test_permissions_are_checked_without_writing(table: DynamoDbLeaseTable) -> None:
    """A check leaves the table empty."""
    table.check()
    assert list(table.scan()) == []


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("ab", "'ab' is not a table name"),
        ("my table", "is not a table name"),
        ("calls?regoin=x", "unknown option 'regoin'. Did you mean 'region'"),
        ("calls?tags=team", "option 'tags': .*say tags=name:value"),
        ("calls?endpoint_url=nowhere&region=x", "the endpoint of dynamodb .* is not a URL: 'nowhere'"),
        ("calls", "no AWS region: give --region"),
    ],
)
def test_an_error_in_the_url_is_one_line(url: str, complaint: str) -> None:
    """It is found without a call."""
    place = parse("--leases", f"dynamodb:{url}")
    with pytest.raises(ConfigurationError, match=complaint) as error:
        dynamodb.connect(place, options_of(place, Options), Scope("calls", "calls", TIMEOUT))
    assert "\n" not in str(error.value)


def test_missing_credentials_are_one_line(
    dynamodb_local_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The line says what to set."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ConfigurationError, match="no AWS credentials: set AWS_PROFILE"):
        dynamodb_table(dynamodb_local_server).check()


# Failures ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("ProvisionedThroughputExceededException", 400),
        ("ThrottlingException", 400),
        ("InternalServerError", 500),
        ("AccessDeniedException", 400),
        ("ResourceNotFoundException", 400),
        ("ExpiredTokenException", 400),
    ],
)
def test_every_failure_of_a_running_worker_is_retried(
    table: DynamoDbLeaseTable, client: Any, code: str, status: int
) -> None:
    """A permission may be granted again, a table restored. The message has the code."""
    rows = put_rows(table, 3)
    for action in ("Scan", "BatchGetItem", "PutItem", "UpdateItem", "DeleteItem", "BatchExecuteStatement"):
        refuse(client, action, code, status)
    changes = [Change(row, steps.taken(row, ME)) for row in rows]
    calls: list[Callable[[], object]] = [
        table.scan,
        lambda: table.read(["shardId-000000000000"]),
        lambda: table.create(rows[0]),
        lambda: table.want(rows[0], "peer"),
        lambda: table.delete(replace(rows[0], checkpoint=SHARD_END)),
        lambda: table.write(changes[:1]),
        lambda: table.write(changes),
    ]
    for call in calls:
        with pytest.raises(LeaseTableUnavailable, match=code):
            call()


def test_a_call_to_a_silent_store_ends_in_time() -> None:
    """A call ends within the scope's time-out, and is not repeated."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        table = dynamodb_table(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.3)
        for call in (table.scan, lambda: table.write([Change(Lease("shard"), steps.taken(Lease("shard"), ME))])):
            began = time.monotonic()
            with pytest.raises(LeaseTableUnavailable, match="ReadTimeoutError"):
                call()
            assert time.monotonic() - began < 0.3 + 0.5  # the half second allows for a busy machine
        table.close()


def test_a_partly_throttled_batch_returns_the_other_responses(table: DynamoDbLeaseTable, client: Any) -> None:
    """One throttled renewal does not affect the others. It is unknown whether it was written."""

    def throttle(parsed: dict[str, Any]) -> None:
        parsed["Responses"][1] = {"Error": {"Code": "ThrottlingError", "Message": "slow down"}}

    changes = [Change(row, steps.taken(row, ME)) for row in put_rows(table, 3)]
    alter(client, "BatchExecuteStatement", throttle)
    with pytest.raises(PartlyWritten, match="ThrottlingError") as error:
        table.write(changes)
    assert [result and result.row for result in error.value.results] == [changes[0].after, None, changes[2].after]


def test_a_response_without_the_row_is_followed_by_a_read(table: DynamoDbLeaseTable, client: Any) -> None:
    """A store may omit the row, whether the change was written or rejected."""
    rows = put_rows(table, 3)
    taken = [steps.taken(row, ME) for row in rows]
    table.write([Change(rows[2], taken[2])])

    def leave_out(parsed: dict[str, Any]) -> None:
        for response in parsed["Responses"]:
            response.pop("Item", None)
            response.get("Error", {}).pop("Item", None)

    alter(client, "BatchExecuteStatement", leave_out)
    answers = table.write([Change(row, steps.taken(row, ME)) for row in rows])
    assert [(answer.row, answer.done) for answer in answers] == [(taken[0], True), (taken[1], True), (taken[2], False)]


def test_without_the_batch_permission_changes_are_written_one_by_one(client: Any, name: str) -> None:
    """dynamodb:PartiQLUpdate saves calls, but is not required."""
    refuse(client, "BatchExecuteStatement", "AccessDeniedException")
    table = DynamoDbLeaseTable(client, name, Options())
    table.check()
    rows = put_rows(table, 3)
    assert all(answer.done for answer in table.write([Change(row, steps.taken(row, ME)) for row in rows]))


def test_unread_keys_are_requested_again(table: DynamoDbLeaseTable, client: Any) -> None:
    """BatchGetItem may return a part. If that never ends, it is an outage."""
    put_rows(table, 3)
    left: list[dict[str, Any]] = []

    def keep_back(parsed: dict[str, Any]) -> None:
        items = parsed["Responses"][table._name]
        if len(items) > 1:
            back = items.pop()
            parsed["UnprocessedKeys"] = {table._name: {"Keys": [{"leaseKey": back["leaseKey"]}]}}
            left.append(back)

    alter(client, "BatchGetItem", keep_back)
    assert len(table.read([f"shardId-{number:012}" for number in range(3)])) == 3
    assert left
    never = {table._name: {"Keys": [{"leaseKey": {"S": "shardId-000000000000"}}]}}
    alter(client, "BatchGetItem", lambda parsed: parsed.update(UnprocessedKeys=never))
    with pytest.raises(LeaseTableUnavailable, match="leaves keys unread"):
        table.read(["shardId-000000000000"])


def test_a_scan_reads_all_pages(table: DynamoDbLeaseTable, raw: Any) -> None:
    """DynamoDB returns at most 1 MB per page."""
    for number in range(5):
        padded = item_of(Lease(f"shardId-{number:012}")) | {"somebodys": {"S": "x" * 300_000}}
        raw.put_item(TableName=table._name, Item=padded)
    assert len(table.scan()) == 5


# KCL workers on the same table ---------------------------------------------------------------------------------------


def load(raw: Any, table: str, stem: str) -> list[dict[str, Any]]:
    [file] = GOLDEN.glob(f"{stem}*.json")
    [items] = [items for items in json.loads(file.read_text())["tables"].values() if "leaseKey" in items[0]]
    for item in items:
        raw.put_item(TableName=table, Item=item)
    before = stored(raw, table)
    return [before[item["leaseKey"]["S"]] for item in items]


def stored(raw: Any, table: str) -> dict[str, dict[str, Any]]:
    items = raw.scan(TableName=table, ConsistentRead=True)["Items"]
    return {item["leaseKey"]["S"]: ordered(item) for item in items}


def ordered(item: dict[str, Any]) -> dict[str, Any]:
    """Return an item whose sets can be compared, because DynamoDB returns them in any order."""
    return {name: {"SS": sorted(value["SS"])} if "SS" in value else value for name, value in item.items()}


@pytest.mark.parametrize("stem", ["01", "03", "06", "40", "42", "10", "50", "52"])
def test_a_table_of_a_kcl_is_taken_over_without_changing_foreign_data(
    table: DynamoDbLeaseTable, raw: Any, stem: str
) -> None:
    """Other rows stay byte by byte the same, and only changed attributes of leases are written."""
    items = load(raw, table._name, stem)
    table.check()
    rows = [row for row in table.scan() if not row.ended]
    assert len(table.scan()) == sum(map(is_lease, items))
    held = [answer.row for answer in table.write([Change(row, steps.taken(row, ME)) for row in rows])]
    taken = [row for row in held if row is not None and row.held_by(ME)]
    assert len(taken) == len(rows)
    end = Position.of(10**59, 3)
    table.write([Change(row, steps.checkpointed(row, ME, end)) for row in taken])
    for item in items:
        now = stored(raw, table._name)[item["leaseKey"]["S"]]
        ours = {"leaseOwner", "leaseCounter", "checkpoint", "checkpointSubSequenceNumber", "cc_token"}
        ours |= {"ownerSwitchesSinceCheckpoint", "checkpointOwner"}
        changed = {key for key in item.keys() | now.keys() if item.get(key) != now.get(key)}
        assert changed <= ours if is_lease(item) and item["checkpoint"]["S"] != "SHARD_END" else not changed


def test_a_renewal_by_a_kcl_ends_our_lease(table: DynamoDbLeaseTable, raw: Any) -> None:
    """KCL writes the counter and keeps our token, so the counter of the token no longer matches."""
    [row] = put_rows(table, 1)
    [taken] = table.write([Change(row, steps.taken(row, ME))])
    assert taken.row is not None
    raw.update_item(
        TableName=table._name,
        Key={"leaseKey": {"S": row.shard_id}},
        AttributeUpdates={
            "leaseCounter": {"Value": {"N": "2"}, "Action": "PUT"},
            "leaseOwner": {"Value": {"S": "kcl"}, "Action": "PUT"},
        },
        Expected={"leaseCounter": {"Value": {"N": "1"}}},
    )
    [refused] = table.write([Change(taken.row, steps.renewed(taken.row, ME, None))])
    assert not refused.done
    assert refused.row is not None
    assert (refused.row.owner, refused.row.counter, refused.row.held_by(ME)) == ("kcl", 2, False)


def test_a_lease_without_a_mandatory_attribute_is_reported_and_never_written(
    table: DynamoDbLeaseTable, raw: Any
) -> None:
    """It is left out of all results, and its shard gets no other row."""
    broken = {"leaseKey": {"S": "shardId-000000000000"}, "leaseCounter": {"N": "3"}, "checkpoint": {"S": "LATEST"}}
    raw.put_item(TableName=table._name, Item=broken)
    table.check()
    assert list(table.scan()) == []
    assert table.unreadable() == {"shardId-000000000000": "it has no checkpointSubSequenceNumber"}
    table.create(Lease("shardId-000000000000"))
    table.delete(Lease("shardId-000000000000", SHARD_END, counter=3))
    assert list(table.read(["shardId-000000000000"])) == []
    assert stored(raw, table._name) == {"shardId-000000000000": broken}


def test_a_table_of_several_streams_is_rejected(table: DynamoDbLeaseTable, raw: Any) -> None:
    """Its keys contain account, stream and epoch, so none of them is a shard of this stream."""
    key = "123456789012:twilio-events:1700000000:shardId-000000000000"
    raw.put_item(TableName=table._name, Item=item_of(Lease(key)))
    with pytest.raises(ConfigurationError, match=f"holds leases of several streams .'{key}'.: this worker reads one"):
        table.check()
    assert list(table.scan()) == []


def test_a_new_row_has_an_entity_type_where_the_others_have_one(table: DynamoDbLeaseTable, raw: Any) -> None:
    """KCL 3.5 marks leases with entityType, and older ones do not know it."""
    load(raw, table._name, "40")
    table.scan()
    table.create(Lease("shardId-0000000000aa"))
    load(raw, table._name, "01")
    table.scan()
    table.create(Lease("shardId-000000000009"))
    kinds = {key: item.get("entityType") for key, item in stored(raw, table._name).items()}
    assert kinds["shardId-000000000009"] == {"S": "LEASE"}
    assert kinds["shardId-0000000000aa"] is None


def test_kcl_workers_are_those_whose_metrics_change(client: Any, raw: Any, name: str) -> None:
    """The row of a dead worker stays for a day, so a first look proves nothing. A live one writes every 30 s."""
    clock = FakeClock()
    table = DynamoDbLeaseTable(client, name, Options(), clock=clock)
    table.check()
    load(raw, name, "07")
    table.scan()
    assert not table.assignees()
    raw.update_item(
        TableName=name,
        Key={"leaseKey": {"S": "w1"}},
        AttributeUpdates={"lut": {"Value": {"N": "2000000000"}, "Action": "PUT"}},
    )
    clock.advance(30)
    table.scan()
    assert set(table.assignees()) == {"w1"}
    clock.advance(60)
    table.scan()
    assert set(table.assignees()) == {"w1"}
    clock.advance(1)
    assert not table.assignees()


def test_workers_of_kcl_3_0_to_3_4_are_found_in_their_own_table(client: Any, raw: Any, name: str) -> None:
    """It is read once a minute, only while other workers than ours hold leases, and may be missing."""
    clock, asked = FakeClock(), []
    client.meta.events.register("before-call.dynamodb.Scan", lambda params, **_: asked.append(params["body"]))
    table = DynamoDbLeaseTable(client, name, Options(), clock=clock)
    metrics = f"{name}-WorkerMetricStats"

    def scan(later: float) -> bool:
        clock.advance(later)
        asked.clear()
        table.scan()
        return any(metrics.encode() in body for body in asked)

    table.check()
    assert not scan(1)
    load(raw, name, "41")
    assert scan(1)
    raw.create_table(
        TableName=metrics,
        KeySchema=[{"AttributeName": "wid", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "wid", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    raw.put_item(TableName=metrics, Item={"wid": {"S": "d1"}, "lut": {"N": "1"}})
    assert not scan(59)
    assert scan(1)
    raw.put_item(TableName=metrics, Item={"wid": {"S": "d1"}, "lut": {"N": "31"}})
    assert scan(60)
    assert set(table.assignees()) == {"d1"}


def empty(client: Any, action: str, body: bytes) -> None:
    """Respond to every call of an action with 200 and this body, without sending it."""

    class Body:
        def stream(self, *_: object) -> Iterator[bytes]:
            yield body

    headers: Any = {}
    answer = lambda **_: AWSResponse("http://127.0.0.1/", 200, headers, Body())  # noqa: E731
    client.meta.events.register(f"before-send.dynamodb.{action}", answer)


@pytest.mark.parametrize("body", [b"{}", b'{"message": "busy"}', b'{"Items": null}'])
def test_a_scan_without_items_is_not_an_empty_table(client: Any, table: DynamoDbLeaseTable, body: bytes) -> None:
    """Otherwise every shard would get a new row and be read from its start."""
    table.create(Lease("shard"))
    empty(client, "Scan", body)
    with pytest.raises(LeaseTableUnavailable, match="Scan: the response is incomplete"):
        table.scan()


@pytest.mark.parametrize("body", [b"{}", b'{"Responses": {}}', b'{"Responses": {"another": []}}'])
def test_a_read_without_rows_does_not_delete_them(client: Any, table: DynamoDbLeaseTable, body: bytes) -> None:
    """A missing row would be a lost lease."""
    table.create(Lease("shard"))
    empty(client, "BatchGetItem", body)
    with pytest.raises(LeaseTableUnavailable, match="BatchGetItem: the response is incomplete"):
        table.read(["shard"])


@pytest.mark.parametrize("body", [b"{}", b'{"Responses": []}', b'{"Responses": [{}]}'])
def test_a_batch_with_too_few_responses_has_an_unknown_result(
    client: Any, table: DynamoDbLeaseTable, body: bytes
) -> None:
    """No lease is lost, because the next renewal finds out."""
    rows = [Lease("one"), Lease("other")]
    for row in rows:
        table.create(row)
    empty(client, "BatchExecuteStatement", body)
    with pytest.raises(LeaseTableUnavailable, match="BatchExecuteStatement: the response is incomplete"):
        table.write([Change(row, steps.taken(row, ME)) for row in rows])


def test_endless_pages_of_a_scan_are_an_error(client: Any, table: DynamoDbLeaseTable) -> None:
    """The same last key would return the same page forever."""
    empty(client, "Scan", b'{"Items": [], "LastEvaluatedKey": {"leaseKey": {"S": "shard"}}}')
    with pytest.raises(LeaseTableUnavailable, match="Scan: the response is incomplete"):
        table.scan()
