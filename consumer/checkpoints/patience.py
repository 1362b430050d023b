"""Repeat calls of a command that may succeed a little later."""

import time
from collections.abc import Callable
from typing import TypeVar

from consumer.errors import ConfigurationError, Retryable
from consumer.runtime.backoff import RetryPolicy

T = TypeVar("T")
TRIES, RETRIES = 8, RetryPolicy(first=0.25, most=4.0)  # about ten seconds in all


def patiently(call: Callable[[], T], sleep: Callable[[float], None] = time.sleep) -> T:
    """Return the result of a call, which is repeated if it fails temporarily.

    Raises:
        ConfigurationError: it cannot succeed, or has failed each time.
    """
    for attempt in range(TRIES):
        try:
            return call()
        except Retryable as error:
            if attempt == TRIES - 1:
                raise ConfigurationError(f"{error} (tried {TRIES} times)") from error
            sleep(max(error.retry_after or 0.0, RETRIES.longest(attempt)))
    raise AssertionError("unreachable")
