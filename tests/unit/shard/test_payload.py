"""Count what a sink needs for a write in the memory budget."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from consumer.leases import Lease, Pending
from consumer.pipeline.batching import Buffer
from consumer.pipeline.pipeline import limits_of
from consumer.pipeline.rejections import Judge
from consumer.records import BatchLimits, Position
from consumer.runtime.memory_budget import HANGS, PATIENCE, MemoryBudget
from consumer.shard.batch_assembly import BatchAssembly
from tests.unit.fakes import SHARD, decoded, encode_dead_letter

TOTAL = 100_000
OPEN: list[Any] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    """Delete the temporary files."""
    yield
    while OPEN:
        OPEN.pop().clear()


def assembly(budget: MemoryBudget, payload: float, pending: Pending | None = None) -> Any:
    """Return the assembly of a shard whose sink needs `payload` bytes per byte of rows."""
    pipeline = SimpleNamespace(
        rows=SimpleNamespace(payload=payload),
        buffer=lambda shard, memory: Buffer(shard, BatchLimits(), encode_dead_letter, 0 if memory else None),
    )
    context: Any = SimpleNamespace(budget=budget, decoder=lambda _: None, pipeline=pipeline)
    held_lease: Any = SimpleNamespace(shard_id=SHARD, lease=Lease(SHARD, pending=pending))
    reader: Any = SimpleNamespace(size=0)
    halting: Any = SimpleNamespace(judge=Judge(), stop=None)
    return BatchAssembly(held_lease, reader, context, halting)


def filled(budget: MemoryBudget, payload: float, pending: Pending | None = None) -> Any:
    OPEN.append(made := assembly(budget, payload, pending))
    made._buffer.add([decoded(range(1, 200), size=0)], now=0.0)
    made.settle()
    return made


@pytest.mark.parametrize("payload", [0.0, 0.3, 2.0])
def test_a_batch_in_memory_has_what_its_write_needs(payload: float) -> None:
    """It is reserved while the batch grows, so the write never waits."""
    budget = MemoryBudget(TOTAL)
    made = filled(budget, payload)
    buffer = made._buffer
    assert budget.held() == buffer.size + round(payload * buffer.length)
    budget.settle("other", 10 * TOTAL)
    assert made.may_write()


def test_a_batch_on_disk_reserves_it_before_the_write() -> None:
    """It waits while others hold the memory, but not for ever: then it gets a loan."""
    budget = MemoryBudget(TOTAL)
    made = filled(budget, 1.0, Pending(Position.of(10**6), "name"))
    assert budget.held() == made._buffer.size < made._buffer.length
    budget.settle("other", TOTAL)
    refused = [made.may_write() for _ in range(PATIENCE)]
    assert not any(refused)
    assert made.may_write()
    assert budget.held() >= TOTAL + made._buffer.length
    made.settle()
    assert budget.held() < TOTAL + made._buffer.length


def test_only_one_batch_on_disk_is_written_beyond_the_limit() -> None:
    """After a restart every shard has one, and their objects together may be larger than the memory."""
    budget = MemoryBudget(TOTAL)
    first, second = (filled(budget, 1.0, Pending(Position.of(10**6), "name")) for _ in range(2))
    second._shard_id = "second"
    budget.settle("other", TOTAL)
    while not first.may_write():
        pass
    assert not any(second.may_write() for _ in range(HANGS - 1))


def test_a_sink_without_a_payload_never_waits() -> None:
    """Its rows are written block by block."""
    budget = MemoryBudget(TOTAL)
    made = filled(budget, 0.0, Pending(Position.of(10**6), "name"))
    budget.settle("other", TOTAL)
    assert made.may_write()


@pytest.mark.parametrize(
    ("payload", "memory", "given", "expected"),
    [
        (0.0, 1_000, None, 5_000),
        (1.0, 4_000, None, 2_000),
        (1.0, 40_000, None, 5_000),
        (1.0, 4_000, 3_000, 3_000),
    ],
)
def test_a_batch_and_its_payload_fit_into_the_memory(
    payload: float, memory: int, given: int | None, expected: int
) -> None:
    """Unless the operator says a number of bytes. A single shard is never refused memory."""
    sink: Any = SimpleNamespace(limits=BatchLimits(10, 5_000, 1.0), payload=payload)
    assert limits_of(sink, memory, None, given, None) == BatchLimits(10, expected, 1.0)
    assert limits_of(sink, memory, 7, given, 0.5) == BatchLimits(7, expected, 0.5)
