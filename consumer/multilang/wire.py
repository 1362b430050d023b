"""Exchange messages with the daemon over two pipes, one JSON object per line. Only one side sends at a time."""

import os
import select
from collections.abc import Mapping, Sequence

import msgspec

from consumer.errors import ConsumerError, OutputClosed

READ_SIZE = 1024 * 1024  # bytes
CLOSED = "the daemon closed the pipe"


class ProtocolError(ConsumerError):
    """The daemon sent a message that its protocol does not allow.

    Exit with code 1, because guessing may lose records.
    """


class DaemonRecord(msgspec.Struct, rename="camel"):
    """A user record, which KCL has already taken out of its aggregate.

    On the wire, `data` is base64 and `approximate_arrival_timestamp` is in milliseconds since the epoch.
    """

    sequence_number: str
    data: bytes | None = None
    partition_key: str | None = None
    sub_sequence_number: int | None = None
    approximate_arrival_timestamp: int | None = None


class Message(msgspec.Struct, rename="camel"):
    """A message from the daemon. `action` determines which other fields are set."""

    action: str
    shard_id: str | None = None
    sequence_number: str | None = None
    sub_sequence_number: int | None = None
    records: Sequence[DaemonRecord] | None = None
    millis_behind_latest: int | None = None
    error: str | None = None


class Wire:
    """Read and write messages. It uses raw file descriptors, so that a wait ends when the daemon closes the pipe."""

    def __init__(self, reading: int, writing: int) -> None:
        self._reading, self._writing = reading, writing
        self._pending = bytearray()
        self._searched = 0
        self._closed = False
        self._decode = msgspec.json.Decoder(Message).decode

    def read(self) -> Message | None:
        """Return the next message, or None when the daemon has closed the pipe.

        Raises:
            ProtocolError: the line is not a message.
        """
        line = self._line()
        while line is not None and not line.strip():
            line = self._line()
        if line is None:
            return None
        try:
            return self._decode(line)
        except msgspec.MsgspecError as error:
            raise ProtocolError(f"the daemon sent a line that is not a message: {type(error).__name__}") from None

    def send(self, message: Mapping[str, object]) -> None:
        """Write a message. The leading newline ends any partial line that other code may have printed.

        Raises:
            OutputClosed: the daemon closed the pipe.
        """
        view = memoryview(b"\n" + msgspec.json.encode(message) + b"\n")
        try:
            while view:
                view = view[os.write(self._writing, view) :]
        except OSError:
            raise OutputClosed(CLOSED) from None

    def closes_within(self, seconds: float) -> bool:
        """Wait up to `seconds`. Return True as soon as the daemon closes the pipe, False if it does not.

        The daemon sends nothing while it waits for our status.
        """
        if not self._closed and select.select([self._reading], [], [], seconds)[0]:
            self._fill()
        return self._closed

    def _line(self) -> bytes | None:
        while (end := self._pending.find(b"\n", self._searched)) < 0:
            self._searched = len(self._pending)
            if self._closed:
                return None
            self._fill()
        line = bytes(self._pending[:end])
        del self._pending[: end + 1]
        self._searched = 0
        return line

    def _fill(self) -> None:
        data = os.read(self._reading, READ_SIZE)
        self._closed = not data
        self._pending += data
