"""Tell a stream that was deleted or replaced from one that cannot be found for a moment."""

from consumer.errors import ConfigurationError

# Seconds for which every check must fail before the stream counts as deleted.
CONFIRMED_AFTER = 30.0


class Absence:
    """The time since which every check has failed to find the right stream."""

    def __init__(self) -> None:
        self._since: float | None = None

    def over(self) -> None:
        """Note that the right stream was found."""
        self._since = None

    def confirm(self, problem: str, now: float) -> None:
        """Note a check that did not find the right stream.

        Raises:
            ConfigurationError: all checks of the last `CONFIRMED_AFTER` seconds failed.
        """
        if self._since is None:
            self._since = now
        if now - self._since >= CONFIRMED_AFTER:
            raise ConfigurationError(f"{problem} (for {CONFIRMED_AFTER:.0f} s; it was there at the start)")
