"""How many bytes a second a shard brings, for weighing leases against each other."""


class Throughput:
    """KB/s, smoothed as KCL smooths its `throughputKBps`: half the last value, half the newest interval's."""

    def __init__(self, last: float | None, now: float) -> None:
        self._value, self._since, self._bytes = last or 0.0, now, 0

    def add(self, size: int) -> None:
        """So many bytes were fetched. One thread at a time."""
        self._bytes += size

    def measure(self, now: float) -> float:
        """The value after one more interval, to a hundredth; it comes to rest at zero for a shard without records."""
        elapsed, size = now - self._since, self._bytes
        if elapsed > 0:
            self._since, self._bytes = now, self._bytes - size
            self._value = round((self._value + size / 1000 / elapsed) / 2 - 0.0025, 2)
            self._value = max(0.0, self._value)
        return self._value
