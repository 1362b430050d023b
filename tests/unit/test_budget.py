"""The bytes that all shards may hold at once (rule 9)."""

from consumer.engine.budget import Budget


def test_one_shard_is_always_admitted_however_large() -> None:
    """A budget may slow the process down, never stop it."""
    budget = Budget(100)
    assert budget.reserve("a", 10_000)
    assert not budget.reserve("b", 1)


def test_a_shard_alone_may_go_on_reading() -> None:
    """What it holds itself is its own affair: its batch limits bound it."""
    budget = Budget(100)
    budget.settle("a", 90)
    assert budget.reserve("a", 90)


def test_when_it_is_short_the_largest_holder_has_to_deliver_until_it_has() -> None:
    """The one who asks waits; the largest is squeezed, and only that one."""
    budget = Budget(100)
    budget.settle("small", 10)
    budget.settle("large", 80)
    assert not budget.reserve("new", 20)
    assert [shard for shard in ("small", "large", "new") if budget.squeezes(shard)] == ["large"]
    budget.settle("large", 0)
    assert not budget.squeezes("large")
    assert budget.reserve("new", 20)


def test_a_reservation_counts_until_it_is_settled() -> None:
    """Bytes are reserved before the fetch, and what came of it replaces the guess."""
    budget = Budget(100)
    assert budget.reserve("a", 60)
    assert not budget.reserve("b", 60)
    budget.settle("a", 30)
    assert budget.held() == 30
    assert budget.reserve("b", 60)
    budget.settle("b", 0)
    assert budget.held() == 30
