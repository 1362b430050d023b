"""Decide how many records to request of one shard, from the sizes and times of its last responses.

Each shard has its own limit: one shard with records of 1 MB says nothing about the others.
"""

MOST_RECORDS = 10_000  # AWS GetRecords: at most 10,000 records or 10 MiB in a response
FIRST_RECORDS = 20  # requested while their size is unknown; aggregates of the KPL have up to 50 KB
# Bytes of data per response. AWS gives 2 MB per second and shard: after a larger response it rejects the next reads.
# A response takes four times its size of memory while it is parsed, for each shard that is behind.
TARGET_SIZE = 2 * 1024 * 1024
# After a timeout the limit is divided by `CUT`; each quick response multiplies it by `GROWTH` until it is back.
CUT, GROWTH = 4, 2
# Seconds: a response is quick below the first, and above the second the next one may time out.
QUICK, SLOW = 2.0, 5.0


class ReadSize:
    """The limit of the next request: about `TARGET_SIZE` bytes, and a fraction of that after a timeout.

    A slow server keeps working on requests whose client has timed out. Equal retries would pile up there. `share`: of
    `TARGET_SIZE`, so that a reader that may use half of a shard's bytes per second leaves the rest to others.
    """

    def __init__(self, share: float = 1.0) -> None:
        self._target = TARGET_SIZE * share
        self._full = FIRST_RECORDS
        self._divisor = 1

    @property
    def records(self) -> int:
        """Return the number of records to request."""
        return max(1, self._full // self._divisor)

    @property
    def cut(self) -> bool:
        """Return whether a read timed out lately, or nearly, so that the next one gets more time."""
        return self._divisor > 1

    def responded(self, records: int, size: int, seconds: float = 0.0) -> None:
        """Note a response: its number of records, their bytes in all, and the seconds it took."""
        if seconds > SLOW:
            self._cut_down(GROWTH)
        elif seconds < QUICK:
            self._divisor = max(1, self._divisor // GROWTH)
        if size:
            self._full = max(1, min(MOST_RECORDS, int(self._target * records // size)))

    def timed_out(self) -> None:
        """Note that a response did not come, or was incomplete."""
        self._cut_down(CUT)

    def _cut_down(self, by: int) -> None:
        self._divisor = min(self._divisor, self._full) * by
