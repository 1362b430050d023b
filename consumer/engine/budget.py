"""The bytes that all shards of a process may hold at once: reserved before a fetch, settled after it (rule 9)."""

import threading


class Budget:
    """Who holds how many bytes. When a fetch does not fit, the largest holder is asked to deliver what it has.

    One shard is always admitted, however large its answers: a budget may slow the process down, never stop it.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._held: dict[str, int] = {}
        self._squeezed: str | None = None
        self._lock = threading.Lock()

    def reserve(self, shard_id: str, size: int) -> bool:
        """Ask for `size` bytes more; False when the shard has to wait."""
        with self._lock:
            others = sum(held for shard, held in self._held.items() if shard != shard_id)
            mine = self._held.get(shard_id, 0)
            if others and others + mine + size > self._total:
                self._squeezed = max(self._held, key=self._held.__getitem__)
                return False
            self._held[shard_id] = mine + size
            return True

    def settle(self, shard_id: str, size: int) -> None:
        """Say what the shard really holds now."""
        with self._lock:
            if size:
                self._held[shard_id] = size
            else:
                self._held.pop(shard_id, None)
            if self._squeezed == shard_id:
                self._squeezed = None

    def squeezes(self, shard_id: str) -> bool:
        """Is this the shard that has to deliver, because another one can't be read?"""
        return self._squeezed == shard_id

    def held(self) -> int:
        """Bytes held by all shards."""
        with self._lock:
            return sum(self._held.values())
