"""Choose the wait before a retry."""

import random

from consumer.runtime.backoff import Backoff, RetryPolicy


def test_waits_double_up_to_a_maximum_with_jitter() -> None:
    """Each is between half and all of its limit, so a fleet that failed together does not retry together."""
    backoff = Backoff(RetryPolicy(0.2, 30.0), random.Random(1))
    for failures in range(40):
        size = min(30.0, 0.2 * 2**failures)
        assert size / 2 <= backoff.next() <= size


def test_two_random_generators_give_different_waits() -> None:
    """The jitter is random."""
    assert RetryPolicy(1, 30).wait(0, random.Random(1)) != RetryPolicy(1, 30).wait(0, random.Random(2))


def test_a_success_resets_the_wait() -> None:
    """An old failure does not delay the next retry."""
    backoff = Backoff(RetryPolicy(0.2, 30.0), random.Random(1))
    for _ in range(10):
        backoff.next()
    backoff.reset()
    assert backoff.failures == 0
    assert backoff.next() <= 0.2


def test_a_policy_has_its_own_factor_and_jitter() -> None:
    """Without jitter the waits are exact."""
    policy = RetryPolicy(first=1.0, most=50.0, factor=3.0, jitter=0.0)
    waits = [policy.wait(failures, random.Random(1)) for failures in range(5)]
    assert waits == [1.0, 3.0, 9.0, 27.0, 50.0]
