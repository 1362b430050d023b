"""Split the responses of a shard into steps, and reserve memory for them."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
import structlog

from consumer.errors import Throttled
from consumer.leases import Change, Lease, WorkerIdentity
from consumer.leases.lease import taken
from consumer.leases.memory import MemoryLeaseTable
from consumer.pipeline.dead_letters import encode_dead_letter
from consumer.pipeline.pipeline import Pipeline
from consumer.records import BatchLimits, Fetched, Position, Record, Shard, StreamSummary
from consumer.runtime.memory_budget import MemoryBudget
from consumer.shard.consumer import ShardConsumer
from consumer.shard.context import PollingPolicy, ShardContext
from consumer.shard.held_lease import HeldLease
from consumer.sinks import Deduplication, Rows
from consumer.streams import Stream
from consumer.telemetry.metrics import Metrics
from tests.unit.shard.test_consumer import decode

ME = WorkerIdentity("me", "start")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Numbers(MemoryBudget):
    """A budget that records each reservation."""

    def __init__(self) -> None:
        super().__init__(1 << 30)
        self.asked: list[int] = []

    def reserve(self, shard_id: str, size: int) -> bool:
        self.asked.append(size)
        return super().reserve(shard_id, size)


class FiveRecords:
    """A stream whose responses have five records of a million bytes each."""

    def summary(self) -> StreamSummary:
        return StreamSummary("stream", True, NOW, NOW)

    def shards(self) -> Sequence[Shard]:
        return [Shard("shard")]

    def open(self, shard_id: str, position: Position) -> str:
        return "0"

    def fetch(self, iterator: str, limit: int, patient: bool = False) -> Fetched:
        first = int(iterator)
        records = [Record(first + number, "key", 0.0, b"x") for number in range(1, 6)]
        return Fetched(records, str(first + 5), 1000, size=5_000_000)

    def close(self) -> None:
        pass


class Busy(FiveRecords):
    """A stream that throttles every read."""

    def fetch(self, iterator: str, limit: int, patient: bool = False) -> Fetched:
        raise Throttled("the stream throttles this shard")


class Sizes:
    """A sink that records the number of rows of each batch."""

    limits, repeats, rejects_rows = BatchLimits(), Deduplication.BY_ROW, False

    def __init__(self) -> None:
        self.written: list[int] = []

    def check(self) -> None:
        pass

    def write(self, rows: Rows) -> int:
        self.written.append(len(rows))
        return 0

    def holds(self, name: str) -> bool:
        return False

    def close(self) -> None:
        pass


def read(steps: int, limits: BatchLimits, stream: Stream | None = None) -> tuple[Numbers, list[int]]:
    """Return the budget and the rows of each batch after some steps, spaced for AWS's read limit."""
    table, budget, sink = MemoryLeaseTable(), Numbers(), Sizes()
    table.create(Lease("shard", hash_range=Shard("shard").hash_range))
    [written] = table.write([Change(lease, taken(lease, ME)) for lease in table.scan()])
    assert written.row is not None
    clock = iter(range(1, 1_000_000)).__next__
    world = ShardContext(
        stream=stream or FiveRecords(),
        pipeline=Pipeline(sink, Sizes(), limits, lambda letter: encode_dead_letter(letter, 0.0), Metrics()),
        budget=budget,
        polling=PollingPolicy(),
        clock=lambda: 0.0,
        server_time=lambda: NOW,
        decoder=lambda _: decode,
        rng=random.Random(1),
        log=structlog.get_logger(),
    )
    consumer = ShardConsumer(HeldLease(table, written.row, ME, 10.0, world.clock).began(0.0), world, lambda *_: ())
    for _ in range(steps):
        consumer.step(clock())
    return budget, sink.written


def test_memory_is_reserved_for_all_copies_of_a_response() -> None:
    """It is four times the data: base64 in pieces and joined, and decoded."""
    budget, _ = read(3, BatchLimits(age=100.0))
    assert budget.asked == [4 * 1024 * 1024, 4 * 5_000_000]


@pytest.mark.parametrize(
    ("limits", "batches"),
    [
        (BatchLimits(rows=2), [2, 2]),  # full in the middle of a response, whose rest waits
        (BatchLimits(age=0.5), [5, 5]),  # only old: the response is decoded to its end first
    ],
)
def test_a_batch_ends_inside_a_response_only_when_it_is_full(limits: BatchLimits, batches: list[int]) -> None:
    """Other reasons to deliver are checked between steps."""
    assert read(7, limits)[1][:2] == batches


def test_a_failed_read_holds_no_memory() -> None:
    """Otherwise a long outage would use up the budget, and no shard could read again."""
    budget, _ = read(5, BatchLimits(), Busy())
    assert len(budget.asked) == 5
    assert budget.held() == 0
