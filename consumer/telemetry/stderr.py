"""Standard error, written by a thread of its own, so that telling never blocks, delays or ends the work.

A line goes into a bounded queue, without a lock: it may be written from a signal handler and with any lock held. When
nobody reads, or the disk is full, the lines wait; those that find the queue full are counted, and the count is told as
soon as lines flow again. This and `runtime.scheduler` are the only places that start threads.
"""

import contextlib
import io
import json
import os
import queue
import select
import sys
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from consumer.files.outputs import Output, output_of

# Lines that wait at most; a few hundred bytes each.
MOST_LINES = 4096
# Bytes written at once: what a pipe takes whole, and without waiting when it says that it takes any (POSIX PIPE_BUF).
ATOMIC = 4096
# Seconds between two tries on a descriptor that refuses, such as a full disk.
TRY_AGAIN = 0.5
# Seconds that the end of a process waits at most for its last lines.
FLUSH = 1.0
FOREVER = float("inf")
_LOOK_AGAIN = 0.01


class LineWriter:
    """Writes lines to a descriptor; `dropped_line` makes the line that tells how many were dropped."""

    def __init__(self, fd: int, dropped_line: Callable[[int], str], most: int = MOST_LINES) -> None:
        self._fd, self._dropped_line, self._most = fd, dropped_line, most
        self._renew()
        os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        """Begin with nothing; a forked child has no thread, and leaves its parent's lines to the parent."""
        self._lines: queue.SimpleQueue[bytes | threading.Event] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._drops: dict[int, int] = {}  # by thread, so that each is changed by one thread alone
        self._reported = 0
        self._output: Output | None = None
        self.failing = False

    def write(self, line: str) -> None:
        """Write one line, without its end, some time soon. Never blocks, never raises."""
        if self._lines.qsize() >= self._most:
            thread = threading.get_ident()
            self._drops[thread] = self._drops.get(thread, 0) + 1
        else:
            self._lines.put(f"{line}\n".encode("utf-8", "backslashreplace"))
        self._has_thread()

    def flush(self, seconds: float = FLUSH) -> None:
        """Wait until all is written, for so long at most; not at all for a descriptor that refuses."""
        written, until = threading.Event(), time.monotonic() + seconds
        self._lines.put(written)
        if not self._has_thread():
            self._write_waiting(until)
        while not written.is_set() and not self.failing and time.monotonic() < until:
            time.sleep(_LOOK_AGAIN)

    def _has_thread(self) -> bool:
        if self._thread is None and self._starting.acquire(blocking=False):
            thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
            with contextlib.suppress(RuntimeError):  # no threads left, or the interpreter ends
                thread.start()
                self._thread = thread
            self._starting.release()
        return self._thread is not None

    def _run(self) -> None:
        while True:
            self._take(self._lines.get(), FOREVER)

    def _write_waiting(self, until: float) -> None:
        """Write what waits on this thread."""
        with contextlib.suppress(queue.Empty):
            while time.monotonic() < until and not self.failing:
                self._take(self._lines.get_nowait(), until)

    def _take(self, line: bytes | threading.Event, until: float) -> None:
        if isinstance(line, threading.Event):
            line.set()
            return
        self._send(line, until)
        dropped = sum(list(self._drops.values())) - self._reported
        if dropped:
            self._reported += dropped
            self._send(f"{self._dropped_line(dropped)}\n".encode(), until)

    def _send(self, line: bytes, until: float) -> None:
        """Write a line, apart from rows that go to the same open file.

        A descriptor that refuses is left to the others between two tries: they have to find out as well.
        """
        rest = line
        while rest and time.monotonic() < until:
            output = self._shared()
            if output.lock.acquire(timeout=-1 if until == FOREVER else max(0.0, until - time.monotonic())):
                try:
                    goes_on = len(rest) < len(line) and output.torn
                    rest = self._send_to(output, rest if goes_on else output.on_a_new_line(line), until)
                finally:
                    output.lock.release()
            if rest and self.failing:
                time.sleep(min(TRY_AGAIN, max(0.0, until - time.monotonic())))

    def _shared(self) -> Output:
        if self._output is None:
            with contextlib.suppress(OSError):
                self._output = output_of(self._fd)
        return self._output or Output()

    def _send_to(self, output: Output, line: bytes, until: float) -> bytes:
        """Write until all of it is there, or the descriptor refuses; returns the rest."""
        rest = memoryview(line)
        while rest and time.monotonic() < until:
            try:
                if self._takes_any():
                    written = os.write(self._fd, rest[:ATOMIC])
                    output.wrote(rest[:written])
                    rest = rest[written:]
                    self.failing = False
            except BlockingIOError:
                time.sleep(_LOOK_AGAIN)
            except OSError:
                self.failing = True
                break
        return bytes(rest)

    def _takes_any(self) -> bool:
        """Wait for a while until the descriptor can be written, or says why not."""
        descriptor = select.poll()
        descriptor.register(self._fd, select.POLLOUT)
        return bool(descriptor.poll(TRY_AGAIN * 1000))


class StandardError:
    """The process's standard error: lines for people, or JSON lines. `as_json` is asked at the first line."""

    def __init__(self, fd: int = 2) -> None:
        self.fd = fd
        self._find_out: Callable[[], bool] | None = None
        self._as_json: bool | None = None
        self._writer = LineWriter(fd, lambda count: self.line(f"{count} lines dropped", "warning", {"dropped": count}))
        self.write, self.flush = self._writer.write, self._writer.flush

    @property
    def as_json(self) -> bool:
        """Is each line JSON?"""
        if self._as_json is None:
            self._as_json = self._find_out() if self._find_out is not None else not self.is_terminal
        return self._as_json

    @property
    def is_terminal(self) -> bool:
        """Does a person read along?"""
        try:
            return os.isatty(self.fd)
        except OSError:
            return False

    def choose(self, as_json: bool | Callable[[], bool]) -> None:
        """Set the format, or how to find it out once there is something to write."""
        if callable(as_json):
            self._find_out, self._as_json = as_json, None
        else:
            self._as_json = as_json

    def say(self, text: str, level: str = "info", fields: Mapping[str, object] | None = None) -> None:
        """Tell something that no log level hides: the text alone for people, with its fields as JSON."""
        self.write(self.line(text, level, fields or {}))

    def line(self, text: str, level: str, fields: Mapping[str, object]) -> str:
        """One line of it."""
        text = " ".join(text.split())
        if not self.as_json:
            return text
        moment = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        return json.dumps({"event": text, **fields, "level": level, "timestamp": moment}, default=str)


class PrintedText(io.TextIOBase):
    """What stands in for `sys.stderr`, so that other code's `print` cannot block either, nor spoil JSON lines.

    As JSON a line says where something was printed and not what: it may be anything, a value of an event too.
    """

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, stderr: StandardError) -> None:
        self._stderr = stderr
        self._begun = ""

    def write(self, text: str) -> int:
        if self._stderr.as_json:
            self._begun = (self._begun + text)[-ATOMIC:]
            if "\n" in text and self._begun.strip():
                caller = sys._getframe(1)
                place = f"{caller.f_code.co_filename.rpartition('/')[2]}:{caller.f_lineno}"
                self._stderr.say("stderr.printed", "warning", {"where": place})
                self._begun = ""
            return len(text)
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            self._stderr.write(line)
        return len(text)

    def flush(self) -> None:
        """Lines are never held back; what has no end yet waits for it."""

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self._stderr.is_terminal

    def fileno(self) -> int:
        return self._stderr.fd


STDERR = StandardError()
