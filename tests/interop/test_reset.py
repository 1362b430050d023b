"""Reset the checkpoints of a table to a time, and let Amazon's KCL continue from there."""

import time
from collections import Counter
from datetime import UTC, datetime

import pytest

from consumer.checkpoint_app import create_checkpoints
from consumer.checkpoints.targets import target_of
from consumer.settings import load
from tests.interop.conftest import Scene, wait_until
from tests.interop.test_takeover import places, put_aggregate


def reset(scene: Scene, to: datetime) -> None:
    leases = f"dynamodb:{scene.name}?endpoint_url={scene.dynamodb_url}&region=us-east-1"
    given = {"stream": scene.name, "endpoint_url": scene.kinesis_url, "leases": leases, "region": "us-east-1"}
    checkpoints = create_checkpoints(load(given))
    checkpoints.carry_out(checkpoints.plan_reset(target_of(to.isoformat()), ()))
    checkpoints.close()


def test_a_kcl_continues_exactly_at_the_time_of_a_reset(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """It understands the position before the first user record of an aggregate, and reads children after parents."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    scene.publisher.put(12)
    left, right = (shard["ShardId"] for shard in scene.resharder.open_shards())
    time.sleep(0.5)
    earlier, moment = scene.published(), datetime.now(UTC)
    time.sleep(0.5)
    put_aggregate(scene, right)
    scene.publisher.put(8)
    assert scene.resharder.split(left)
    scene.publisher.put(8)
    scene.catch_up("ours")
    reset(scene, moment)
    worker = scene.kcl("kcl")
    expected = scene.published() - earlier
    wait_until(lambda: expected <= set(places(worker.rows())), "KCL reads on from there")
    assert Counter(places(worker.rows())) == Counter(expected)
