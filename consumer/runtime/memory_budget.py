"""Limit the bytes that all shards of a process hold at once. A shard reserves them before a fetch and settles after it.

A shard whose reservation does not fit waits, and the largest holder is asked to deliver. The holder's sink may be
stuck, so the shard with the most refusals may borrow memory beyond the total. One loan is open at a time. The borrower
repays it when it delivers. If its delivery fails, it keeps at most `SHARE` in memory. If its delivery hangs, another
shard gets a loan after `HANGS` refusals. Together the shards hold at most the total, `SHARE` for each shard, and one
response for each loan.
"""

import threading

SHARE = 256 * 1024  # bytes that a shard may hold without a time limit
PATIENCE = 5  # refusals before a loan: until then the largest holder may have delivered
HANGS = 100  # refusals before the next loan while one is open: about ten seconds


class MemoryBudget:
    """Track the bytes that each shard holds. Thread-safe. A shard that is the only holder is never refused."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._held: dict[str, int] = {}
        self._refusals: dict[str, int] = {}  # consecutive refusals of each waiting shard
        self._must_deliver: str | None = None
        self._borrower: str | None = None
        self._lock = threading.Lock()

    def reserve(self, shard_id: str, size: int) -> bool:
        """Reserve `size` more bytes for a shard. Return False if it has to wait."""
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
        """Replace the reservation of a shard by the bytes that it really holds."""
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
        """Return whether the shard has to deliver its batch, so that another shard can be read."""
        return self._must_deliver == shard_id

    def has_loan(self, shard_id: str) -> bool:
        """Return whether the shard has an open loan."""
        return self._borrower == shard_id

    def held(self) -> int:
        """Return the bytes that all shards hold."""
        with self._lock:
            return sum(self._held.values())

    def _lend(self, shard_id: str) -> bool:
        """Return whether the shard has a loan, and give it one if it has the most refusals.

        A shard that no longer asks gets no more refusals, so others soon have more than it.
        """
        refusals = self._refusals.get(shard_id, 0)
        if refusals >= max([PATIENCE if self._borrower is None else HANGS, *self._refusals.values()]):
            self._borrower = shard_id
        return self._borrower == shard_id
