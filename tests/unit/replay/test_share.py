"""Test that a reader with a share of a shard's limits leaves the rest to others."""

import pytest

from consumer.leases import Lease
from consumer.records import Fetched, Record
from consumer.shard.context import PollingPolicy
from consumer.shard.read_size import FIRST_RECORDS, TARGET_SIZE, ReadSize
from consumer.shard.reader import ShardReader
from tests.unit.clocks import FakeClock
from tests.unit.fakes import SHARD, QuietStream, shard_context


class Megabytes(QuietStream):
    """A stream whose responses have one record of some size."""

    def __init__(self, size: int) -> None:
        self.size, self.number = size, 0

    def fetch(self, iterator: str, limit: int, patient: bool = False) -> Fetched:
        self.number += 1
        return Fetched([Record(self.number, "key", 0.0, b"x")], str(self.number), 1000, size=self.size)


@pytest.mark.parametrize(
    ("share", "size", "seconds"),
    [(1.0, 5_000_000, 0.2), (0.5, 1, 0.4), (0.5, 1_000_000, 1.0), (0.1, 1_000_000, 5.0), (0.99, 1, 0.2)],
)
def test_the_pause_follows_from_the_share_and_the_size(share: float, size: int, seconds: float) -> None:
    """Of five reads and 2 MB per second and shard. With the whole budget, AWS throttles by itself."""
    clock = FakeClock()
    polling = PollingPolicy(share=share)
    reader = ShardReader(Lease(SHARD), shard_context(clock, stream=Megabytes(size), polling=polling))
    assert reader.wait(clock()) <= 0
    reader.fetch(clock())
    assert reader.wait(clock()) == pytest.approx(seconds, rel=0.02)


def test_a_response_has_at_most_that_share_of_the_bytes() -> None:
    """After a larger one AWS would reject the reads of the others."""
    size = ReadSize(share=0.25)
    assert size.records == FIRST_RECORDS
    size.responded(20, 20 * 1024, 0.1)
    assert size.records == TARGET_SIZE // 4 // 1024
