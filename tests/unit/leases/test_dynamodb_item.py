"""Convert leases to DynamoDB items and back, compatible with KCL."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.leases import Change, Halt, Lease, NextOwner, Pending, Token, WorkerIdentity
from consumer.leases import lease as steps
from consumer.leases.dynamodb.expressions import update_of
from consumer.leases.dynamodb.item import MultiStream, is_lease, item_of, lease_of
from consumer.leases.lease import UnreadableRow
from consumer.records import FULL_HASH_RANGE, LATEST, SHARD_END, TRIM_HORIZON, Position, PositionKind
from tests import kcl_parser

GOLDEN = Path(__file__).parents[2] / "golden" / "kcl"
MANDATORY = ("leaseKey", "leaseCounter", "ownerSwitchesSinceCheckpoint", "checkpoint", "checkpointSubSequenceNumber")
ME = WorkerIdentity("me", "f00d")
Item = dict[str, dict[str, Any]]


def golden() -> Iterator[tuple[str, Item]]:
    for file in sorted(GOLDEN.glob("*.json")):
        for table, items in json.loads(file.read_text())["tables"].items():
            for item in items:
                yield f"{file.stem}/{table}", item


def golden_leases() -> list[Item]:
    return [item for _, item in golden() if is_lease(item)]


def applied(item: Item, change: Change) -> Item:
    """Return the item after the update, as DynamoDB would, if its condition holds."""
    update = update_of(change)
    assert all(item.get(name) == value for name, value in update.seen.items())
    kept = {name: value for name, value in item.items() if name not in update.removes}
    return kept | {name: dict(value) for name, value in update.sets.items()}


# Items of KCL ---------------------------------------------------------------------------------------------------------


def test_there_are_golden_items_of_every_kind() -> None:
    """They come from three versions of KCL, with and without owner, handed off, finished, and other items."""
    items = [item for _, item in golden()]
    assert (len(golden_leases()), len(items)) == (107, 191)
    assert any("checkpointOwner" in item for item in items)
    assert any("leaseOwner" not in item for item in golden_leases())
    assert any(item["checkpoint"]["S"] == "SHARD_END" for item in golden_leases())


def test_every_golden_lease_is_read() -> None:
    """Each field is read as KCL reads it."""
    for item in golden_leases():
        lease, kcl = lease_of(item), kcl_parser.parse(item)
        sequence = str(lease.checkpoint.sequence or lease.checkpoint.kind.name)
        assert (lease.shard_id, lease.owner, lease.counter) == (kcl.key, kcl.owner, kcl.counter)
        assert (sequence, lease.checkpoint.sub_sequence) == kcl.checkpoint
        assert (frozenset(lease.parents), frozenset(lease.children)) == (kcl.parents, kcl.children)
        assert lease.hash_range == (kcl.hash_range or FULL_HASH_RANGE)
        assert (lease.checkpoint_owner, lease.switches) == (kcl.checkpoint_owner, kcl.switches)
        assert lease.throughput == kcl.throughput
        assert (lease.token, lease.pending, lease.started_at, lease.wanted_by) == (None, None, None, None)


def test_every_other_golden_item_is_ignored() -> None:
    """Leader, migration and metrics rows are ignored, although KCL 2.x throws on them."""
    others = [item for _, item in golden() if not is_lease(item)]
    assert {item.get("entityType", {}).get("S", "in a separate table") for item in others} == {
        "LEADER",
        "CLIENT_VERSION_MIGRATION",
        "TABLE_MIGRATION",
        "WORKER_METRIC_STATS",
        "in a separate table",
    }


STEPS: dict[str, Callable[[Lease], Lease]] = {
    "taken": lambda row: steps.taken(row, ME),
    "renewed": lambda row: steps.renewed(row, ME, datetime(2026, 3, 1, tzinfo=UTC), 17.123456),
    "prepared": lambda row: steps.prepared(row, ME, Pending(Position.of(10**59, 3), "rows/1")),
    "checkpointed": lambda row: steps.checkpointed(row, ME, SHARD_END, None, ("shardId-000000000099",)),
    "offered": lambda row: steps.handed_off(row, ME, NextOwner("peer")),
    "assigned": lambda row: steps.handed_off(row, ME, NextOwner("kcl", ours=False)),
    "released": lambda row: steps.handed_off(row, ME, None),
    "draining": lambda row: steps.marked_draining(steps.renewed(row, ME, None), "next_owner"),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_change_keeps_all_foreign_attributes(step: str) -> None:
    """Only the changed fields are written."""
    for kcls in golden_leases():
        item = kcls | {"somebodys": {"S": "own"}, "shardStats": {"M": {"a": {"N": "1"}}}}
        before = lease_of(item)
        after = STEPS[step](before)
        written = applied(item, Change(before, after))
        assert lease_of(written) == after
        assert kcl_parser.parse(written).counter == before.counter + 1
        decided = {name for name in item_of(after) if item_of(after)[name] != item_of(before).get(name)}
        decided |= {name for name in item_of(before) if name not in item_of(after)}
        for name in item.keys() - decided:
            assert written[name] == item[name]
        assert {"somebodys", "shardStats"} <= written.keys()


# Items of this program -----------------------------------------------------------------------------------------------

NAMES = st.text("abcdef-0123456789:é ", min_size=1, max_size=20)
SHARDS = st.from_regex(r"shardId-[0-9]{12}", fullmatch=True)
SETS = st.sets(SHARDS, max_size=3).map(lambda names: tuple(sorted(names)))
SEQUENCES = st.builds(Position.of, st.integers(1, 10**60 - 1), st.integers(0, 2**31))
POSITIONS = st.sampled_from([TRIM_HORIZON, LATEST, SHARD_END, Position(PositionKind.AT_TIMESTAMP)]) | SEQUENCES
FILE_NAMES = st.text(st.characters(codec="utf-8", exclude_characters=" "), min_size=1, max_size=30)
INSTANT_FIELDS = ("started_at", "stream_created_at", "read_to", "lost_from", "lost_to")
INSTANTS = st.none() | st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
COUNTERS = st.integers(0, 2**53)
KEYS = st.integers(0, 2**128 - 1)
LEASES = st.builds(
    Lease,
    shard_id=SHARDS,
    checkpoint=POSITIONS,
    parents=SETS,
    children=SETS,
    hash_range=st.tuples(KEYS, KEYS).map(lambda keys: (min(keys), max(keys))),
    owner=st.none() | NAMES,
    checkpoint_owner=st.none() | NAMES,
    counter=COUNTERS,
    switches=COUNTERS,
    token=st.none() | st.builds(Token, NAMES, st.uuids().map(lambda start: start.hex), COUNTERS),
    pending=st.none() | st.builds(Pending, SEQUENCES, FILE_NAMES, st.sampled_from(["", "0a1b"])),
    started_at=INSTANTS,
    stream_created_at=INSTANTS,
    read_to=INSTANTS,
    throughput=st.none() | st.integers(0, 10**12).map(lambda millionths: millionths / 10**6),
    wanted_by=st.none() | NAMES,
    draining=st.booleans(),
    lost_from=INSTANTS,
    lost_to=INSTANTS,
    halted=st.none()
    | st.builds(Halt, st.sampled_from(["not-json", "share"]), st.integers(1, 10**60 - 1), st.booleans()),
)


@given(LEASES)
def test_every_lease_survives_a_round_trip(lease: Lease) -> None:
    """No field is lost for any value."""
    assert lease_of(item_of(lease)) == lease


@given(LEASES)
def test_kcl_can_read_every_item_of_ours(lease: Lease) -> None:
    """Mandatory attributes exist, types are KCL's, and our own attributes have a prefix."""
    item = item_of(lease)
    kcl = kcl_parser.parse(item)
    assert set(MANDATORY) <= item.keys()
    assert (kcl.counter, kcl.owner, kcl.hash_range) == (lease.counter, lease.owner, lease.hash_range)
    assert kcl.checkpoint[0] == str(lease.checkpoint.sequence or lease.checkpoint.kind.name)
    unknown = item.keys() - {name for _, golden_item in golden() for name in golden_item}
    assert all(name.startswith("cc_") or name.startswith("pendingCheckpoint") for name in unknown)


@given(LEASES, LEASES)
def test_an_update_turns_one_lease_into_the_other(before: Lease, after: Lease) -> None:
    """The set and removed attributes give the new row, and KCL can read it."""
    after = replace(after, shard_id=before.shard_id)
    written = applied({name: dict(value) for name, value in item_of(before).items()}, Change(before, after))
    assert lease_of(written) == after
    kcl_parser.parse(written)


@given(LEASES)
def test_a_renewal_is_a_small_write(lease: Lease) -> None:
    """It sets counter and token. Its condition checks both owners, token and counter."""
    lease = replace(lease, draining=False, throughput=None)
    update = update_of(Change(lease, steps.renewed(lease, ME, None)))
    assert set(update.sets) == {"leaseCounter", "cc_token"}
    assert not update.removes
    assert set(update.seen) == {"leaseCounter", "leaseOwner", "checkpointOwner", "cc_token"}


def test_the_codec_covers_every_field_of_a_lease() -> None:
    """A new field must be written and read."""
    full = Lease("shardId-000000000000")
    for field in fields(Lease):
        other = {"checkpoint": LATEST, "hash_range": (0, 1), "counter": 1, "switches": 1, "draining": True}
        instant = {name: datetime(2026, 1, 1, tzinfo=UTC) for name in INSTANT_FIELDS}
        rest = {"token": Token("w", "s", 1), "pending": Pending(Position.of(1), "n"), "throughput": 1.5}
        sets = {"parents": ("a",), "children": ("b",), "halted": Halt("not-json", 7)}
        value: Any = (other | instant | rest | sets).get(field.name, "text")
        changed = replace(full, **{field.name: value})
        assert lease_of(item_of(changed)) == changed


# Invalid items -------------------------------------------------------------------------------------------------------


def kcl_item(**attributes: Mapping[str, Any] | None) -> Item:
    item = {name: dict(value) for name, value in item_of(Lease("shardId-000000000000", owner="kcl")).items()}
    return {name: dict(value) for name, value in (item | attributes).items() if value is not None}


@pytest.mark.parametrize(("key", "lease"), [("notes", False), ("shardId-000000000000", True)])
def test_an_item_without_a_counter_is_a_lease_only_if_its_key_is_a_shard(key: str, lease: bool) -> None:
    """Other items are ignored, but a damaged lease of a shard is not."""
    assert is_lease(kcl_item(leaseKey={"S": key}, leaseCounter=None)) is lease


@pytest.mark.parametrize("missing", MANDATORY[1:])
def test_a_lease_without_a_mandatory_attribute_is_rejected(missing: str) -> None:
    """The error names the attribute; KCL would throw."""
    item = kcl_item(**{missing: None})
    assert is_lease(item)
    with pytest.raises(UnreadableRow, match=f"it has no {missing}$"):
        lease_of(item)
    with pytest.raises(kcl_parser.KclThrows):
        kcl_parser.parse(item)


@pytest.mark.parametrize(
    "attributes",
    [
        {"leaseCounter": {"S": "7"}},
        {"leaseCounter": {"N": "7.5"}},
        {"checkpoint": {"S": "-1"}},
        {"checkpoint": {"S": "TRIM"}},
        {"checkpoint": {"N": "17"}},
        {"parentShardId": {"S": "shardId-000000000001"}},
        {"startingHashKey": {"S": "low"}},
        {"throughputKBps": {"S": "1"}},
        {"cc_token": {"S": "me"}},
        {"cc_readTo": {"S": "yesterday"}},
    ],
    ids=str,
)
def test_a_lease_with_a_wrong_type_is_rejected(attributes: dict[str, dict[str, str]]) -> None:
    """Its value is not guessed."""
    with pytest.raises(UnreadableRow):
        lease_of(kcl_item(**attributes))


@pytest.mark.parametrize(
    "attributes",
    [
        {"leaseKey": {"S": "123456789012:twilio-events:1700000000:shardId-000000000000"}},
        {"streamName": {"S": "123456789012:twilio-events:1700000000"}},
    ],
    ids=["key", "attribute"],
)
def test_leases_of_several_streams_are_recognized(attributes: dict[str, dict[str, str]]) -> None:
    """Keys of KCL's multi-stream mode are not shard ids, so reading them would read nothing."""
    with pytest.raises(MultiStream):
        lease_of(kcl_item(**attributes))


def test_at_timestamp_is_read_as_the_oldest_record() -> None:
    """KCL stores no instant with it. If the row has an instant of ours, reading starts there."""
    row = lease_of(kcl_item(checkpoint={"S": "AT_TIMESTAMP"}))
    assert row.checkpoint.kind is PositionKind.AT_TIMESTAMP
    assert row.start == TRIM_HORIZON
    instant = lease_of(kcl_item(checkpoint={"S": "AT_TIMESTAMP"}, cc_startedAt={"S": "2026-03-01T00:00:00Z"}))
    assert instant.start == Position.at_timestamp(datetime(2026, 3, 1, tzinfo=UTC))


@pytest.mark.parametrize("state", [{"B": b"of an application"}, {"N": "7"}, None], ids=["bytes", "number", "none"])
def test_a_pending_checkpoint_of_another_program_is_not_ours(state: dict[str, Any] | None) -> None:
    """It is not read, renewals keep it, and our next checkpoint removes it as KCL's would."""
    pending = {"pendingCheckpoint": {"S": "99"}, "pendingCheckpointSubSequenceNumber": {"N": "0"}}
    item = kcl_item(pendingCheckpointState=state, **pending)
    row = lease_of(item)
    assert row.pending is None
    assert applied(item, Change(row, steps.taken(row, ME)))["pendingCheckpoint"] == {"S": "99"}
    moved = applied(item, Change(row, steps.checkpointed(row, ME, Position.of(100))))
    assert not [name for name in moved if name.startswith("pending")]
