"""The bytes that all shards of a process may hold at once: reserved before a fetch or a large record, settled after it.

What does not fit has to wait, and the largest holder is asked to deliver. Its sink may be stuck, so one shard at a time
may borrow beyond the total, the one that was refused most often. It gives the loan back with its delivery; one whose
delivery fails keeps no more than `SHARE` in memory, and one that hangs does not hold up the next loan. Together the
shards hold at most the total, `SHARE` for each of them, and one read for each loan that is out.
"""

import threading

SHARE = 256 * 1024  # bytes that any shard may hold for as long as it likes
PATIENCE = 5  # declines before a loan: until then the largest holder may have delivered
HANGS = 100  # declines before the next loan, although the last one is still out: ten seconds


class MemoryBudget:
    """Who holds how many bytes. One shard alone is always admitted, however large its answers."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._held: dict[str, int] = {}
        self._refusals: dict[str, int] = {}  # in a row, of those who wait
        self._must_deliver: str | None = None
        self._borrower: str | None = None
        self._lock = threading.Lock()

    def reserve(self, shard_id: str, size: int) -> bool:
        """Ask for `size` bytes more; False when the shard has to wait."""
        with self._lock:
            mine = self._held.get(shard_id, 0)
            others = sum(self._held.values()) - mine
            if others and others + mine + size > self._total and not self._lend(shard_id):
                self._refusals[shard_id] = self._refusals.get(shard_id, 0) + 1
                self._must_deliver = max(self._held, key=self._held.__getitem__)
                return False
            self._refusals.pop(shard_id, None)
            self._held[shard_id] = mine + size
            return True

    def settle(self, shard_id: str, size: int) -> None:
        """Say what the shard really holds now."""
        with self._lock:
            self._held[shard_id] = size
            if not size:
                del self._held[shard_id]
                self._refusals.pop(shard_id, None)
            if self._must_deliver == shard_id:
                self._must_deliver = None
            if self._borrower == shard_id and (size <= SHARE or sum(self._held.values()) <= self._total):
                self._borrower = None

    def must_deliver(self, shard_id: str) -> bool:
        """Is this the shard that has to deliver, because another one can't be read?"""
        return self._must_deliver == shard_id

    def has_loan(self, shard_id: str) -> bool:
        """Does this shard hold more than the total allows, to be given back soon?"""
        return self._borrower == shard_id

    def held(self) -> int:
        """Bytes held by all shards."""
        with self._lock:
            return sum(self._held.values())

    def _lend(self, shard_id: str) -> bool:
        """Refusals only count while a shard asks, so one that does not ask any more is soon overtaken."""
        declines = self._refusals.get(shard_id, 0)
        if declines >= max([PATIENCE if self._borrower is None else HANGS, *self._refusals.values()]):
            self._borrower = shard_id
        return self._borrower == shard_id
