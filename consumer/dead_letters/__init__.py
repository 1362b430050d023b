"""The port for reading dead letters: one adapter per scheme, in one file each. The table is in `consumer.adapters`.

`selection` filters them, `attempt` decodes them with today's decoder, `redrive` writes what becomes a row, and `ledger`
remembers that. `checkpoints` tells which dead letters no worker can write any more.
"""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import msgspec

Report = Callable[[str], None]  # tells the operator about a dead letter that cannot be read


class StoredDeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter as it is stored (schemas.dead_letter), with decoded `data`; None if the data was left out.

    Times are RFC 3339 in UTC with milliseconds.
    """

    reason: str
    message: str
    stream_name: str
    shard_id: str
    sequence_number: str
    sub_sequence_number: int
    event_index: int
    partition_key: str
    arrived_at: str
    data: bytes | None
    rejected_at: str = ""
    worker_version: str = ""

    @property
    def key(self) -> tuple[str, str, str, int, int, str]:
        """Return what identifies the dead letter, in the order of the table's primary key."""
        place = (self.stream_name, self.shard_id, self.sequence_number)
        return *place, self.sub_sequence_number, self.event_index, self.reason

    @property
    def id(self) -> str:
        """Return 16 hexadecimal digits that identify the dead letter in commands."""
        return hashlib.sha256("\0".join(map(str, self.key)).encode()).hexdigest()[:16]

    @property
    def sequence(self) -> int:
        """Return the sequence number of the Kinesis record."""
        return int(self.sequence_number)


class DeadLetterStore(Protocol):
    """A place with dead letters. A worker may write to it at the same time."""

    @property
    def ledger(self) -> Path:
        """Return the file in which redrives of these dead letters are remembered, unless the operator names one."""
        ...

    def letters(self) -> Iterator[StoredDeadLetter]:
        """Iterate over all dead letters, those of one shard together where possible. One at a time is in memory.

        Raises:
            ConfigurationError: the place cannot be read.
        """
        ...

    def delete(self, chosen: Callable[[StoredDeadLetter], bool]) -> int:
        """Delete the dead letters for which `chosen` is true, and return their number.

        Raises:
            ConfigurationError: the place cannot be changed.
        """
        ...

    def close(self) -> None:
        """Close files and connections."""
        ...
