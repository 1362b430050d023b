"""Measure the throughput of a shard, by which leases are weighted."""


class Throughput:
    """KB/s, smoothed as KCL smooths its `throughputKBps`: half the last value, half that of the newest interval."""

    def __init__(self, last: float | None, now: float) -> None:
        self._value, self._since, self._bytes = last or 0.0, now, 0

    def add(self, size: int) -> None:
        """Note fetched bytes. Only one thread may call this at a time."""
        self._bytes += size

    def measure(self, now: float) -> float:
        """Return the value after one more interval, to a hundredth. It falls to zero for a shard without records."""
        elapsed, size = now - self._since, self._bytes
        if elapsed > 0:
            self._since, self._bytes = now, self._bytes - size
            self._value = round((self._value + size / 1000 / elapsed) / 2 - 0.0025, 2)
            self._value = max(0.0, self._value)
        return self._value
