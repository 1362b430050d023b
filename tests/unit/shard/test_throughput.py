"""Estimate the bytes per second of a shard."""

from collections.abc import Sequence

import pytest

from consumer.shard.throughput import Throughput


@pytest.mark.parametrize(
    ("last", "sizes", "expected"),
    [
        (None, [0], [0.0]),
        (None, [2_000_000], [100.0]),  # 200 KB/s, of which half
        (None, [2_000_000, 2_000_000, 2_000_000], [100.0, 150.0, 174.99]),
        (100.0, [0, 0], [50.0, 25.0]),
        (100.0, [1_000_000], [100.0]),
        (0.01, [0], [0.0]),  # it reaches 0
        (0.02, [0, 0], [0.01, 0.0]),
        (0.0, [1], [0.0]),
    ],
)
def test_the_estimate_is_half_old_and_half_new(
    last: float | None, sizes: Sequence[int], expected: Sequence[float]
) -> None:
    """It is in KB/s over intervals of ten seconds."""
    throughput, now = Throughput(last, 0.0), 0.0
    for size, value in zip(sizes, expected, strict=True):
        throughput.add(size)
        now += 10.0
        assert throughput.measure(now) == pytest.approx(value, abs=0.011)


def test_the_estimate_falls_to_zero() -> None:
    """The row of a shard without records then no longer changes."""
    throughput = Throughput(1000.0, 0.0)
    values = [throughput.measure(now) for now in range(1, 40)]
    assert values[-1] == 0.0
    assert min(values) == 0.0
    assert values == sorted(values, reverse=True)


def test_responses_within_one_interval_add_up() -> None:
    """They are counted once."""
    throughput = Throughput(None, 0.0)
    for _ in range(4):
        throughput.add(500_000)
    assert throughput.measure(10.0) == pytest.approx(100.0, abs=0.01)
    assert throughput.measure(20.0) == pytest.approx(50.0, abs=0.01)


def test_an_interval_without_duration_changes_nothing() -> None:
    """Its bytes count in the next interval."""
    throughput = Throughput(8.0, 5.0)
    throughput.add(1_000_000)
    assert throughput.measure(5.0) == 8.0
    assert throughput.measure(15.0) == pytest.approx(54.0, abs=0.01)
