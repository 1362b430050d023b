"""How long to wait before the same step again."""

import random

from consumer.runtime.backoff import Backoff, RetryPolicy


def test_waits_double_up_to_the_most_and_are_drawn_between_half_and_all() -> None:
    """A fleet that failed together does not retry together."""
    backoff = Backoff(RetryPolicy(0.2, 30.0), random.Random(1))
    for failures in range(40):
        size = min(30.0, 0.2 * 2**failures)
        assert size / 2 <= backoff.next() <= size


def test_two_dice_draw_different_waits() -> None:
    """The jitter is real."""
    assert RetryPolicy(1, 30).wait(0, random.Random(1)) != RetryPolicy(1, 30).wait(0, random.Random(2))


def test_success_starts_again_from_the_first() -> None:
    """A failure long ago costs nothing now."""
    backoff = Backoff(RetryPolicy(0.2, 30.0), random.Random(1))
    for _ in range(10):
        backoff.next()
    backoff.reset()
    assert backoff.failures == 0
    assert backoff.next() <= 0.2
