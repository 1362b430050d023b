"""The pipe to the daemon: one JSON object a line, both ways. Only one side talks at a time."""

import os
import select
from collections.abc import Mapping, Sequence

import msgspec

from consumer.errors import ConsumerError, OutputClosed

READ_SIZE = 1024 * 1024


class ProtocolError(ConsumerError):
    """The daemon said something that it never should: this process has to stop, loudly."""


class Part(msgspec.Struct, rename="camel"):
    """A user record as KCL has taken it out of its aggregate; `data` is base64 on the wire, the time milliseconds."""

    sequence_number: str
    data: bytes | None = None
    partition_key: str | None = None
    sub_sequence_number: int | None = None
    approximate_arrival_timestamp: int | None = None


class Message(msgspec.Struct, rename="camel"):
    """Anything the daemon says; which fields are set depends on `action`."""

    action: str
    shard_id: str | None = None
    sequence_number: str | None = None
    sub_sequence_number: int | None = None
    records: Sequence[Part] | None = None
    millis_behind_latest: int | None = None
    error: str | None = None


class Wire:
    """Reads and writes two file descriptors itself, so that it can wait and notice that the daemon is gone."""

    def __init__(self, reading: int, writing: int) -> None:
        self._reading, self._writing = reading, writing
        self._pending = bytearray()
        self._searched = 0
        self._closed = False
        self._decode = msgspec.json.Decoder(Message).decode

    def read(self) -> Message | None:
        """The next message; None when the daemon has closed the pipe.

        Raises:
            ProtocolError: it is not one.
        """
        line = self._line()
        while line is not None and not line.strip():
            line = self._line()
        if line is None:
            return None
        try:
            return self._decode(line)
        except msgspec.MsgspecError as error:
            raise ProtocolError(f"a line from the daemon is no message: {type(error).__name__}") from None

    def send(self, message: Mapping[str, object]) -> None:
        """Write a message. The newline in front ends whatever else may have been printed.

        Raises:
            OutputClosed: the daemon is gone.
        """
        view = memoryview(b"\n" + msgspec.json.encode(message) + b"\n")
        try:
            while view:
                view = view[os.write(self._writing, view) :]
        except OSError:
            raise OutputClosed("the daemon is gone") from None

    def closes_within(self, seconds: float) -> bool:
        """Wait so long, less if the daemon closes the pipe; True when it has. It says nothing while it waits for us."""
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
