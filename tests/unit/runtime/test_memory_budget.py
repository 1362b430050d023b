"""Limit the bytes that all shards hold at once (docs/guarantees.md#bounded-memory)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.runtime.memory_budget import HANGS, PATIENCE, SHARE, MemoryBudget


def test_a_single_shard_is_always_admitted() -> None:
    """A budget may slow the process down, but never stop it."""
    budget = MemoryBudget(100)
    assert budget.reserve("a", 10_000)
    assert not budget.reserve("b", 1)


def test_a_shard_without_others_may_continue_to_read() -> None:
    """Its batch limits bound what it holds."""
    budget = MemoryBudget(100)
    budget.settle("a", 90)
    assert budget.reserve("a", 90)


def test_the_largest_holder_must_deliver_when_the_budget_is_used_up() -> None:
    """The asking shard waits, and only the largest holder is told to deliver."""
    budget = MemoryBudget(100)
    budget.settle("small", 10)
    budget.settle("large", 80)
    assert not budget.reserve("new", 20)
    assert [shard for shard in ("small", "large", "new") if budget.must_deliver(shard)] == ["large"]
    budget.settle("large", 0)
    assert not budget.must_deliver("large")
    assert budget.reserve("new", 20)


def test_a_reservation_counts_until_it_is_settled() -> None:
    """The actual size then replaces the estimate."""
    budget = MemoryBudget(100)
    assert budget.reserve("a", 60)
    assert not budget.reserve("b", 60)
    budget.settle("a", 30)
    assert budget.held() == 30
    assert budget.reserve("b", 60)
    budget.settle("b", 0)
    assert budget.held() == 30


def refuse(budget: MemoryBudget, shard: str, times: int, size: int = 1) -> None:
    """Ask this often, and expect a refusal each time."""
    for _ in range(times):
        assert not budget.reserve(shard, size)


@pytest.mark.parametrize("left", [0, SHARE])
def test_a_shard_that_waited_long_borrows_until_it_holds_its_share(left: int) -> None:
    """Only one shard borrows at a time."""
    budget = MemoryBudget(100)
    budget.settle("stuck", 100)
    refuse(budget, "a", PATIENCE)
    assert budget.reserve("a", 10_000)
    assert budget.has_loan("a")
    budget.settle("a", SHARE + 1)
    refuse(budget, "b", PATIENCE)
    assert budget.has_loan("a")
    budget.settle("a", left)
    assert not budget.has_loan("a")
    assert budget.reserve("b", 10_000)


def test_a_borrower_may_borrow_more_for_what_it_has_fetched() -> None:
    """Otherwise it could not decode a large record."""
    budget = MemoryBudget(100)
    budget.settle("stuck", 100)
    refuse(budget, "a", PATIENCE)
    assert budget.reserve("a", SHARE)
    assert budget.reserve("a", 10 * SHARE)


@pytest.mark.parametrize("asks", [True, False])
def test_the_longest_waiting_shard_is_first_while_it_keeps_asking(asks: bool) -> None:
    """Refusals count only while a shard asks, so another one may overtake it."""
    budget = MemoryBudget(100)
    budget.settle("stuck", 100)
    refuse(budget, "borrower", PATIENCE)
    assert budget.reserve("borrower", SHARE + 1)
    refuse(budget, "first", PATIENCE + 3)
    refuse(budget, "second", PATIENCE)
    budget.settle("borrower", 0)
    refuse(budget, "second", 1 if asks else 3)
    assert budget.reserve("first" if asks else "second", 1)


def test_a_hanging_loan_delays_the_next_for_a_limited_time() -> None:
    """The sink of the borrower may never return."""
    budget = MemoryBudget(100)
    budget.settle("stuck", 100)
    refuse(budget, "a", PATIENCE)
    assert budget.reserve("a", SHARE + 1)
    refuse(budget, "b", HANGS)
    assert budget.reserve("b", 1)


STUCK = st.lists(st.tuples(st.integers(1, 4 * SHARE), st.booleans()), max_size=8)


@given(
    st.integers(1, 8 * SHARE), STUCK, st.integers(1, 3), st.integers(1, 8 * SHARE), st.randoms(use_true_random=False)
)
@settings(max_examples=40)  # each is hundreds of requests
def test_a_healthy_shard_always_makes_progress(total, stuck, healthy, need, rng) -> None:  # type: ignore[no-untyped-def]
    """Other shards may keep their memory, hang with a loan, and ask first."""
    monkey = pytest.MonkeyPatch()
    monkey.setattr("consumer.runtime.memory_budget.HANGS", 10)
    budget, asking = MemoryBudget(total), {f"stuck-{number}": kept for number, kept in enumerate(stuck)}
    names = [*asking, *(f"healthy-{number}" for number in range(healthy))]
    progress = dict.fromkeys(names[len(stuck) :], 0)
    for _ in range((10 + PATIENCE) * (len(stuck) + healthy + 2)):
        for name in rng.sample(names, len(names)):
            if name in progress and budget.reserve(name, need):
                progress[name] += 1
                budget.settle(name, 0)
            elif name in asking and budget.reserve(name, need):
                size, hangs = asking.pop(name)
                kept = min(size, need)  # at most what it asked for
                if not hangs:
                    budget.settle(name, min(kept, SHARE) if budget.has_loan(name) else kept)
    monkey.undo()
    assert min(progress.values()) > 0
    assert budget.held() <= max(total, need) + (SHARE + need) * len(stuck)
