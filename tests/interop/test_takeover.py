"""Move from Amazon's KCL to this program on the same table, and back. Each continues at the other's checkpoints."""

import hashlib
import itertools
import signal
from collections.abc import Mapping

import pytest

from consumer.decoding.deaggregation import aggregate
from consumer.records import Position
from tests.events import event_id, numbered_event
from tests.interop.conftest import EventLocation, Scene, after, checkpoints, end, wait_until
from tests.interop.kcl import KclRow, KclWorker

# Which worker creates the table, and how each ends. On an empty table a KCL waits for up to half a minute.
CASES = [("KCL", signal.SIGKILL, signal.SIGTERM), ("ours", signal.SIGTERM, signal.SIGKILL)]

KCL_ATTRIBUTES = {
    *("leaseKey", "leaseOwner", "leaseCounter", "ownerSwitchesSinceCheckpoint", "entityType", "throughputKBps"),
    *("checkpoint", "checkpointSubSequenceNumber", "checkpointOwner", "startingHashKey", "endingHashKey"),
    *("pendingCheckpoint", "pendingCheckpointSubSequenceNumber", "pendingCheckpointState"),
    *("parentShardId", "childShardIds"),
}


def places(rows: list[KclRow]) -> list[EventLocation]:
    return [(row.shard, row.sequence, row.sub_sequence) for row in rows]


def put_aggregate(scene: Scene, shard: str) -> str:
    """Put one aggregate of eight events on this shard. Return the id of the fourth."""
    first = scene.publisher.published
    scene.publisher.published += 8
    [hashes] = [item["HashKeyRange"] for item in scene.resharder.open_shards() if item["ShardId"] == shard]
    key = next(key for key in map(str, itertools.count()) if _inside(key, hashes))
    data = aggregate([(key, numbered_event(n)) for n in range(first, first + 8)])
    scene.kinesis.put_record(StreamName=scene.name, Data=data, PartitionKey=key)
    return event_id(first + 3)


def _inside(key: str, hashes: Mapping[str, str]) -> bool:
    number = int.from_bytes(hashlib.md5(key.encode(), usedforsecurity=False).digest(), "big")
    return int(hashes["StartingHashKey"]) <= number <= int(hashes["EndingHashKey"])


@pytest.mark.parametrize(("made_by", "kcl_ends", "ours_ends"), CASES, ids=["made-by-kcl", "made-by-ours"])
def test_a_migration_there_and_back_loses_nothing(
    scene: Scene, made_by: str, kcl_ends: signal.Signals, ours_ends: signal.Signals
) -> None:
    """KCL ends inside an aggregate and a split, our worker continues, and KCL continues after ours."""
    if made_by == "ours":
        scene.catch_up("ours-0")
    first = kcl_reads_in_part(scene, kcl_ends)
    ours_goes_on(scene, first)
    ours_reads_in_part(scene, ours_ends)
    second = kcl_goes_on(scene)
    assert set(places(first.rows())) | set(scene.rows()) | set(places(second.rows())) == scene.published()
    strange = {name for item in scene.items() for name in item} - KCL_ATTRIBUTES
    assert all(name.startswith("cc_") for name in strange), "what is left behind is attributes of our own"


def kcl_reads_in_part(scene: Scene, ends: signal.Signals) -> KclWorker:
    """Let KCL checkpoint half of an aggregate on one shard, and finish the other, which was split."""
    scene.publisher.put(12)
    left, right = (shard["ShardId"] for shard in scene.resharder.open_shards())
    half = put_aggregate(scene, right)
    worker = scene.kcl("kcl-1", half=half)
    wait_until(lambda: f"half {right}" in worker.events(), "KCL reads up to the half")
    scene.publisher.put(8)
    assert scene.resharder.split(left)
    wait_until(lambda: f"ended {left}" in worker.events(), "KCL finishes the parent")
    worker.end(ends)
    [last] = [place for place, row in zip(places(worker.rows()), worker.rows(), strict=True) if row.event_id == half]
    assert checkpoints(scene.leases())[right] == Position.of(*last[1:])
    return worker


def ours_goes_on(scene: Scene, first: KclWorker) -> None:
    """Check that our worker continues right after the checkpoints, also inside an aggregate."""
    left_behind = checkpoints(scene.leases())
    scene.publisher.put(8)
    expected = after(scene.published(), left_behind)
    scene.catch_up("ours-1")
    assert sorted(scene.rows()) == sorted(expected)
    assert set(places(first.rows())) | expected == scene.published()


def ours_reads_in_part(scene: Scene, ends: signal.Signals) -> None:
    """Let our worker end inside a split, or right after it."""
    before = len(scene.rows())
    ours = scene.ours("ours-2")
    scene.publisher.put(20)
    wait_until(lambda: len(scene.rows()) > before, "ours reads on")
    assert scene.resharder.split()
    end(ours, ends)


def kcl_goes_on(scene: Scene) -> KclWorker:
    """Check that KCL continues right after our checkpoints, without a loss or a repeat."""
    left_behind = checkpoints(scene.leases())
    scene.publisher.put(8)
    expected = after(scene.published(), left_behind)
    worker = scene.kcl("kcl-2")
    wait_until(lambda: len(set(places(worker.rows()))) >= len(expected), "KCL reads what is left")
    assert sorted(places(worker.rows())) == sorted(expected)
    worker.end(signal.SIGTERM)
    return worker
