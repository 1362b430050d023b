"""Tells a stream that was deleted, or replaced, while it was read from one that cannot be found for a moment."""

from consumer.errors import ConfigurationError

# Seconds for which every look has to find the same before it is believed.
CONFIRMED_AFTER = 30.0


class Absence:
    """Since when the stream has not been the one that it should be."""

    def __init__(self) -> None:
        self._since: float | None = None

    def over(self) -> None:
        """The stream is there."""
        self._since = None

    def confirm(self, problem: str, now: float) -> None:
        """Take in one more look that did not find the stream.

        Raises:
            ConfigurationError: it has been so for long enough.
        """
        if self._since is None:
            self._since = now
        if now - self._since >= CONFIRMED_AFTER:
            raise ConfigurationError(f"{problem} (for {CONFIRMED_AFTER:.0f} s; it was there at the start)")
