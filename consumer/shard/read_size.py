"""How many records to ask one shard for at once: judged by what its last answers held, and by those that did not come.

Kept for each shard: one shard with records of 1 MB says nothing about the others.
"""

MOST_RECORDS = 10_000  # AWS GetRecords: at most 10,000 records or 10 MiB in a response
FIRST_RECORDS = 20  # asked for while nothing is known of their size: aggregates of the KPL have up to 50 KB
# Bytes of data asked for at once. A shard gives 2 MB a second whatever it is asked for: after a larger answer AWS
# refuses the next reads, and while it is read it takes four times its size of memory, for each shard that is behind.
ENOUGH = 2 * 1024 * 1024
# What a read that timed out is cut down by, and by how much that grows back with each one that works.
CUT, GROWTH = 4, 2
# A response that took fewer seconds was quick; one that took more is about to time out.
QUICK, SLOW = 2.0, 5.0


class ReadSize:
    """As many records as come to `ENOUGH` bytes, and a fraction of them after a timeout.

    A server that is slow goes on with a request that nobody waits for any more. The same one again would pile up.
    """

    def __init__(self) -> None:
        self._usual = FIRST_RECORDS
        self._divisor = 1

    @property
    def records(self) -> int:
        """How many to ask for."""
        return max(1, self._usual // self._divisor)

    @property
    def cut(self) -> bool:
        """A read timed out lately, or nearly, so wait longer for the next."""
        return self._divisor > 1

    def answered(self, records: int, size: int, seconds: float = 0.0) -> None:
        """So many records of `size` bytes in all have come after `seconds`."""
        if seconds > SLOW:
            self._cut_down(GROWTH)
        elif seconds < QUICK:
            self._divisor = max(1, self._divisor // GROWTH)
        if size:
            self._usual = max(1, min(MOST_RECORDS, ENOUGH * records // size))

    def timed_out(self) -> None:
        """The answer did not come, or not to its end."""
        self._cut_down(CUT)

    def _cut_down(self, by: int) -> None:
        self._divisor = min(self._divisor, self._usual) * by
