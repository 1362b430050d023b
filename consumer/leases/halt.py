"""Why a shard is halted: its owner stored it in the lease row, and an operator's command removes or changes it."""

from typing import NamedTuple

MARKS = {"halted": False, "skip": True}


class Halt(NamedTuple):
    """The shard is not read from the Kinesis record `sequence` on, for `reason`: that of a rejection, or "share".

    `skip`: an operator has decided that the record becomes a dead letter, and reading continues after it.
    """

    reason: str
    sequence: int
    skip: bool = False

    @classmethod
    def stored(cls, text: str) -> "Halt":
        """Return the halt that a lease table stored as `text` (see the property).

        Raises:
            ValueError: it is none.
        """
        mark, reason, sequence = text.split(" ")
        if mark not in MARKS:
            raise ValueError
        return cls(reason, int(sequence), MARKS[mark])

    @property
    def text(self) -> str:
        """Return the halt as a lease table stores it."""
        return f"{'skip' if self.skip else 'halted'} {self.reason} {self.sequence}"
