"""What is DynamoDB's alone: the table and its permissions, time-outs, and living beside a KCL in one table."""

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

GOLDEN = Path(__file__).parents[1] / "golden" / "kcl"
ME = WorkerIdentity("me", "f00d")
ACTIONS = ("DescribeTable", "CreateTable", "Scan", "BatchGetItem", "PutItem", "UpdateItem", "DeleteItem")


@pytest.fixture
def client(dynamodb_local_server: str) -> Iterator[Any]:
    """A worker's client that the test may tamper with."""
    made = dynamodb_client(Scope("calls", "twilio-events", TIMEOUT, "us-east-1", dynamodb_local_server), None, None)
    yield made
    made.close()


@pytest.fixture
def table(client: Any, name: str) -> DynamoDbLeaseTable:
    made = DynamoDbLeaseTable(client, name, Options())
    made.check()
    return made


def refuse(client: Any, action: str, code: str, status: int = 400) -> None:
    """Response every call of that action with an error, without sending it."""

    class Body:
        def stream(self, *_: object) -> Iterator[bytes]:
            yield json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "no"}).encode()

    headers: Any = {}

    def answer(**_: object) -> AWSResponse:
        return AWSResponse("http://127.0.0.1/", status, headers, Body())

    client.meta.events.register(f"before-send.dynamodb.{action}", answer)


def alter(client: Any, action: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the answers to an action on their way back; what it did is done."""
    client.meta.events.register(f"after-call.dynamodb.{action}", lambda parsed, **_: change(parsed))


def put_rows(table: DynamoDbLeaseTable, count: int) -> list[Lease]:
    for number in range(count):
        table.create(Lease(f"shardId-{number:012}"))
    return sorted(table.scan(), key=lambda row: row.shard_id)


# The table ------------------------------------------------------------------------------------------------------------


def test_without_a_name_the_table_is_the_applications(store: str) -> None:
    """It is made on demand, pays per request, and its key is KCL's; making it again is no error."""
    table = dynamodb_table(store)
    table.check()
    table.check()
    described = table._client.describe_table(TableName="calls")["Table"]
    assert described["KeySchema"] == [{"AttributeName": "leaseKey", "KeyType": "HASH"}]
    assert described["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    table.close()


def test_a_new_table_gets_what_was_wished_for(moto_server: str, name: str) -> None:
    """Tags, deletion protection and point-in-time recovery; checking it again changes nothing."""
    wishes = "&tags=team:calls,stage:live&deletion_protection=true&point_in_time_recovery=true"
    table = dynamodb_table(moto_server, name, more=wishes)
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


def test_what_a_store_does_not_know_is_one_clear_line(dynalite_server: str, name: str) -> None:
    """Waiting would not teach it."""
    with pytest.raises(ConfigurationError, match="UpdateContinuousBackups is refused at "):
        dynamodb_table(dynalite_server, name, more="&point_in_time_recovery=true").check()


def test_a_table_with_another_key_is_refused(client: Any, raw: Any, name: str) -> None:
    """Most likely somebody's data: nothing is written to it."""
    raw.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "N"}],
        BillingMode="PAY_PER_REQUEST",
    )
    with pytest.raises(ConfigurationError, match=rf"table {name} is no lease table: its key is id \(N\), not leaseKey"):
        DynamoDbLeaseTable(client, name, Options()).check()


@pytest.mark.parametrize("action", ACTIONS)
def test_a_missing_permission_is_named(client: Any, name: str, action: str) -> None:
    """Which action on which table, in one line, before anything is read."""
    refuse(client, action, "AccessDeniedException")
    with pytest.raises(
        ConfigurationError, match=rf"table {name}: dynamodb:{action} is denied at http\S+: Acc\w+: no: "
    ):
        DynamoDbLeaseTable(client, name, Options()).check()


@pytest.mark.parametrize("action", [*ACTIONS, "BatchExecuteStatement"])
def test_a_check_that_is_throttled_is_made_again(client: Any, name: str, action: str) -> None:
    """Nothing is concluded from it; `Retryable` says so."""
    refuse(client, action, "ThrottlingException")
    with pytest.raises(LeaseTableUnavailable, match="ThrottlingException"):
        DynamoDbLeaseTable(client, name, Options()).check()


def test_the_permissions_are_asked_for_without_writing(table: DynamoDbLeaseTable) -> None:
    """A check leaves the table empty."""
    table.check()
    assert list(table.scan()) == []


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("ab", "'ab' is no table's name"),
        ("my table", "is no table's name"),
        ("calls?regoin=x", "unknown option 'regoin'. Did you mean 'region'"),
        ("calls?tags=team", "option 'tags': .*say tags=name:value"),
        ("calls?endpoint_url=nowhere&region=x", "the endpoint of dynamodb .* is no URL: 'nowhere'"),
        ("calls", "no AWS region: give --region"),
    ],
)
def test_a_mistake_in_the_url_is_one_clear_line(url: str, complaint: str) -> None:
    """Found without a call."""
    place = parse("--leases", f"dynamodb:{url}")
    with pytest.raises(ConfigurationError, match=complaint) as error:
        dynamodb.connect(place, options_of(place, Options), Scope("calls", "calls", TIMEOUT))
    assert "\n" not in str(error.value)


def test_missing_credentials_are_one_clear_line(
    dynamodb_local_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What to set is said."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ConfigurationError, match="no AWS credentials: set AWS_PROFILE"):
        dynamodb_table(dynamodb_local_server).check()


# Trouble --------------------------------------------------------------------------------------------------------------


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
def test_whatever_goes_wrong_while_the_worker_runs_is_tried_again(
    table: DynamoDbLeaseTable, client: Any, code: str, status: int
) -> None:
    """A permission may be given back, a table restored; the code is in the message."""
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


def test_a_store_that_does_not_answer_is_given_up_in_time() -> None:
    """A call ends within the scope's time-out, and is not repeated."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        table = dynamodb_table(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.3)
        for call in (table.scan, lambda: table.write([Change(Lease("shard"), steps.taken(Lease("shard"), ME))])):
            began = time.monotonic()
            with pytest.raises(LeaseTableUnavailable, match="ReadTimeoutError"):
                call()
            assert time.monotonic() - began < 0.3 + 0.5  # the half second is for a busy machine
        table.close()


def test_of_a_throttled_batch_the_answers_that_came_are_given(table: DynamoDbLeaseTable, client: Any) -> None:
    """So one throttled renewal does not spoil the others; whether it was made is not known."""

    def throttle(parsed: dict[str, Any]) -> None:
        parsed["Responses"][1] = {"Error": {"Code": "ThrottlingError", "Message": "slow down"}}

    changes = [Change(row, steps.taken(row, ME)) for row in put_rows(table, 3)]
    alter(client, "BatchExecuteStatement", throttle)
    with pytest.raises(PartlyWritten, match="ThrottlingError") as error:
        table.write(changes)
    assert [result and result.row for result in error.value.results] == [changes[0].after, None, changes[2].after]


def test_an_answer_without_the_row_is_made_up_for(table: DynamoDbLeaseTable, client: Any) -> None:
    """A store may leave it out, whether the change was made or refused: the row is read then."""
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


def test_without_permission_for_batches_changes_go_out_one_by_one(client: Any, name: str) -> None:
    """dynamodb:PartiQLUpdate saves calls; nothing depends on it."""
    refuse(client, "BatchExecuteStatement", "AccessDeniedException")
    table = DynamoDbLeaseTable(client, name, Options())
    table.check()
    rows = put_rows(table, 3)
    assert all(answer.done for answer in table.write([Change(row, steps.taken(row, ME)) for row in rows]))


def test_keys_that_are_left_unread_are_asked_for_again(table: DynamoDbLeaseTable, client: Any) -> None:
    """BatchGetItem may answer in part; when it goes on and on, that is an outage."""
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
    """DynamoDB answers with at most 1 MB a page."""
    for number in range(5):
        padded = item_of(Lease(f"shardId-{number:012}")) | {"somebodys": {"S": "x" * 300_000}}
        raw.put_item(TableName=table._name, Item=padded)
    assert len(table.scan()) == 5


# Beside a KCL ---------------------------------------------------------------------------------------------------------


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
    """An item whose sets can be compared: DynamoDB gives their members in any order."""
    return {name: {"SS": sorted(value["SS"])} if "SS" in value else value for name, value in item.items()}


@pytest.mark.parametrize("stem", ["01", "03", "06", "40", "42", "10", "50", "52"])
def test_a_table_of_kcls_is_taken_over_and_nothing_foreign_changes(
    table: DynamoDbLeaseTable, raw: Any, stem: str
) -> None:
    """Rows that are no leases stay to the byte; on the leases only what was decided changes."""
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


def test_a_heartbeat_of_kcl_ends_our_tenure(table: DynamoDbLeaseTable, raw: Any) -> None:
    """KCL writes the counter and leaves our token, so the token's counter is no longer the row's."""
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


def test_a_lease_that_lacks_an_attribute_is_reported_and_never_touched(table: DynamoDbLeaseTable, raw: Any) -> None:
    """It is left out of every answer, and a shard whose row it is gets no other."""
    broken = {"leaseKey": {"S": "shardId-000000000000"}, "leaseCounter": {"N": "3"}, "checkpoint": {"S": "LATEST"}}
    raw.put_item(TableName=table._name, Item=broken)
    table.check()
    assert list(table.scan()) == []
    assert table.unreadable() == {"shardId-000000000000": "it has no checkpointSubSequenceNumber"}
    table.create(Lease("shardId-000000000000"))
    table.delete(Lease("shardId-000000000000", SHARD_END, counter=3))
    assert list(table.read(["shardId-000000000000"])) == []
    assert stored(raw, table._name) == {"shardId-000000000000": broken}


def test_a_table_of_several_streams_is_refused(table: DynamoDbLeaseTable, raw: Any) -> None:
    """Its keys name account, stream and epoch: none of them is a shard of this stream."""
    key = "123456789012:twilio-events:1700000000:shardId-000000000000"
    raw.put_item(TableName=table._name, Item=item_of(Lease(key)))
    with pytest.raises(ConfigurationError, match=f"holds leases of several streams .'{key}'.: this worker reads one"):
        table.check()
    assert list(table.scan()) == []


def test_a_new_row_says_what_it_is_where_the_others_do(table: DynamoDbLeaseTable, raw: Any) -> None:
    """KCL 3.5 marks leases with entityType; older ones do not know it."""
    load(raw, table._name, "40")
    table.scan()
    table.create(Lease("shardId-0000000000aa"))
    load(raw, table._name, "01")
    table.scan()
    table.create(Lease("shardId-000000000009"))
    kinds = {key: item.get("entityType") for key, item in stored(raw, table._name).items()}
    assert kinds["shardId-000000000009"] == {"S": "LEASE"}
    assert kinds["shardId-0000000000aa"] is None


def test_workers_of_kcl_are_those_whose_metrics_move(client: Any, raw: Any, name: str) -> None:
    """At first sight a row says nothing: a dead worker's stays for a day. A live one writes each 30 s."""
    now = [1000.0]
    table = DynamoDbLeaseTable(client, name, Options(), clock=lambda: now[0])
    table.check()
    load(raw, name, "07")
    table.scan()
    assert not table.assignees()
    raw.update_item(
        TableName=name,
        Key={"leaseKey": {"S": "w1"}},
        AttributeUpdates={"lut": {"Value": {"N": "2000000000"}, "Action": "PUT"}},
    )
    now[0] += 30
    table.scan()
    assert set(table.assignees()) == {"w1"}
    now[0] += 60
    table.scan()
    assert set(table.assignees()) == {"w1"}
    now[0] += 1
    assert not table.assignees()


def test_workers_of_kcl_3_0_to_3_4_have_a_table_of_their_own(client: Any, raw: Any, name: str) -> None:
    """It is asked once a minute, and only while somebody who is not of ours holds leases; it need not exist."""
    now, asked = [1000.0], []
    client.meta.events.register("before-call.dynamodb.Scan", lambda params, **_: asked.append(params["body"]))
    table = DynamoDbLeaseTable(client, name, Options(), clock=lambda: now[0])
    metrics = f"{name}-WorkerMetricStats"

    def scan(later: float) -> bool:
        now[0] += later
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
    """Response every call of that action with 200 and this body, without sending it."""

    class Body:
        def stream(self, *_: object) -> Iterator[bytes]:
            yield body

    headers: Any = {}
    answer = lambda **_: AWSResponse("http://127.0.0.1/", 200, headers, Body())  # noqa: E731
    client.meta.events.register(f"before-send.dynamodb.{action}", answer)


@pytest.mark.parametrize("body", [b"{}", b'{"message": "busy"}', b'{"Items": null}'])
def test_a_scan_without_items_is_not_an_empty_table(client: Any, table: DynamoDbLeaseTable, body: bytes) -> None:
    """Else every shard would get a new row and be read from its start."""
    table.create(Lease("shard"))
    empty(client, "Scan", body)
    with pytest.raises(LeaseTableUnavailable, match="Scan: the response is incomplete"):
        table.scan()


@pytest.mark.parametrize("body", [b"{}", b'{"Responses": {}}', b'{"Responses": {"another": []}}'])
def test_a_read_that_names_no_rows_does_not_delete_them(client: Any, table: DynamoDbLeaseTable, body: bytes) -> None:
    """A row that is not there is a lost lease."""
    table.create(Lease("shard"))
    empty(client, "BatchGetItem", body)
    with pytest.raises(LeaseTableUnavailable, match="BatchGetItem: the response is incomplete"):
        table.read(["shard"])


@pytest.mark.parametrize("body", [b"{}", b'{"Responses": []}', b'{"Responses": [{}]}'])
def test_a_batch_that_answers_too_little_wrote_nothing_that_is_known(
    client: Any, table: DynamoDbLeaseTable, body: bytes
) -> None:
    """No lease is lost for it: the next renewal finds out."""
    rows = [Lease("one"), Lease("other")]
    for row in rows:
        table.create(row)
    empty(client, "BatchExecuteStatement", body)
    with pytest.raises(LeaseTableUnavailable, match="BatchExecuteStatement: the response is incomplete"):
        table.write([Change(row, steps.taken(row, ME)) for row in rows])


def test_pages_of_a_scan_that_have_no_end_are_given_up(client: Any, table: DynamoDbLeaseTable) -> None:
    """The same last key again would bring the same page for ever."""
    empty(client, "Scan", b'{"Items": [], "LastEvaluatedKey": {"leaseKey": {"S": "shard"}}}')
    with pytest.raises(LeaseTableUnavailable, match="Scan: the response is incomplete"):
        table.scan()
