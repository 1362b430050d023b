"""Read the record of a dead letter from the stream again, if `--redact strict` has left out its bytes."""

from collections.abc import Callable

from msgspec.structs import replace

from consumer.dead_letters import StoredDeadLetter
from consumer.errors import IteratorExpired, PositionUnknown, Retryable, ShardGone
from consumer.records import Position, Record
from consumer.streams import Stream

PAUSE = 0.25  # seconds between reads: AWS allows five per second and shard, and the worker needs most of them


class StreamAgain:
    """The records of a stream, read one at a time. `sleep` waits for seconds; `pause` waits after a failed read."""

    def __init__(
        self, connect: Callable[[], Stream], sleep: Callable[[float], None], pause: Callable[[Retryable], None]
    ) -> None:
        self._connect, self._sleep, self._pause = connect, sleep, pause
        self._stream: Stream | None = None
        self._last: tuple[tuple[str, int], Record | None] | None = None  # dead letters of one record follow each other

    def complete(self, letter: StoredDeadLetter) -> StoredDeadLetter:
        """Return the dead letter with the data of its Kinesis record; unchanged if the stream has it no longer."""
        place = letter.shard_id, letter.sequence
        if self._last is None or self._last[0] != place:
            self._last = place, self._read(*place)
        record = self._last[1]
        if record is None:
            return letter
        return replace(letter, data=record.data, partition_key=record.partition_key)

    def close(self) -> None:
        """Close the connection."""
        if self._stream is not None:
            self._stream.close()

    def _read(self, shard_id: str, sequence: int) -> Record | None:
        self._stream = stream = self._stream or self._connect()
        while True:
            self._sleep(PAUSE)
            try:
                fetched = stream.fetch(stream.open(shard_id, Position.of(sequence)), 1)
                return next((record for record in fetched.records if record.sequence == sequence), None)
            except (ShardGone, PositionUnknown):
                return None
            except IteratorExpired:
                continue
            except Retryable as error:
                self._pause(error)
