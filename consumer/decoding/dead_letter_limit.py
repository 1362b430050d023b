"""Limit the dead letters of one record. Each may hold the whole record, so a long array could fill any disk."""

from collections.abc import Sequence

from msgspec.structs import replace

from consumer.records import DeadLetter

MOST_BYTES = 16 * 1024 * 1024  # counted for all dead letters of one record
LEAST_BYTES = 512  # counted for each dead letter, even if its data is shorter


class DeadLetterLimit:
    """Pass on the dead letters of one record until `MOST_BYTES` is used up; then only count further ones.

    The last one that fits is held back until the record ends. If others were counted, it states their number and holds
    the bytes of the whole record, which contain theirs.
    """

    def __init__(self, whole: bytes) -> None:
        self._whole, self._room = whole, MOST_BYTES
        self._last: DeadLetter | None = None
        self.more = 0  # dead letters that are only counted

    @property
    def full(self) -> bool:
        """Return whether further dead letters are only counted."""
        return self._last is not None

    def take(self, dead_letter: DeadLetter) -> Sequence[DeadLetter]:
        """Return the dead letter, or nothing if it is held back or only counted."""
        if self._last is not None:
            self.more += 1
            return ()
        size = max(len(dead_letter.data), LEAST_BYTES)
        self._room -= size
        if self._room >= size:
            return (dead_letter,)
        self._last = dead_letter
        return ()

    def rest(self) -> Sequence[DeadLetter]:
        """Return the dead letter that was held back, or nothing. Call it once, at the end of the record."""
        if self._last is None or not self.more:
            return () if self._last is None else (self._last,)
        message = f"{self._last.message}; so are {self.more} more of this {self._kind}"
        return (replace(self._last, message=message, data=self._whole),)

    @property
    def _kind(self) -> str:
        return "array" if self._last is not None and self._last.data is self._whole else "record, which is here whole"
