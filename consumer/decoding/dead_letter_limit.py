"""How many dead letters one record may leave: each may hold all of it, so those of a long array would fill any disk."""

from collections.abc import Sequence

from msgspec.structs import replace

from consumer.records import DeadLetter

MOST_BYTES = 16 * 1024 * 1024  # in the dead letters of one record
LEAST_BYTES = 512  # what any dead letter takes


class Letters:
    """Lets dead letters of one record through as long as they fit; the last that fits stands for the rest.

    Then it says for how many, and holds all bytes of the record, `whole`: those of the others are in there.
    """

    def __init__(self, whole: bytes) -> None:
        self._whole, self._room = whole, MOST_BYTES
        self._last: DeadLetter | None = None
        self.more = 0  # that the last one stands for

    @property
    def full(self) -> bool:
        """Return whether further ones are only counted."""
        return self._last is not None

    def take(self, letter: DeadLetter) -> Sequence[DeadLetter]:
        """Return the letter; nothing if it is to wait for the rest, or only counts."""
        if self._last is not None:
            self.more += 1
            return ()
        size = max(len(letter.data), LEAST_BYTES)
        self._room -= size
        if self._room >= size:
            return (letter,)
        self._last = letter
        return ()

    def rest(self) -> Sequence[DeadLetter]:
        """Return the last one, when there are no more to come."""
        if self._last is None or not self.more:
            return () if self._last is None else (self._last,)
        message = f"{self._last.message}; so are {self.more} more of this {self._kind}"
        return (replace(self._last, message=message, data=self._whole),)

    @property
    def _kind(self) -> str:
        return "array" if self._last is not None and self._last.data is self._whole else "record, which is here whole"
