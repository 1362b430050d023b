"""Write stderr on a separate thread, so that logging never blocks, delays or ends the work.

`write` adds a line to a bounded queue without taking a lock, so signal handlers and code that holds locks may call it.
While stderr is blocked or the disk is full, lines wait. Lines that find the queue full are dropped and counted. The
count is logged when lines flow again. Only this module and `runtime.scheduler` start threads.
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
from dataclasses import dataclass, field
from datetime import UTC, datetime

from consumer.files.outputs import Output, output_of

# Maximum lines in the queue, of a few hundred bytes each.
MAX_LINES = 4096
# Bytes per write. A pipe takes this many at once, and does not block when it is writable (POSIX PIPE_BUF).
WRITE_SIZE = 4096
# Seconds between attempts on a descriptor that fails, such as on a full disk.
RETRY_INTERVAL = 0.5
# Maximum seconds that the end of the process waits for the last lines.
FLUSH = 1.0
FOREVER = float("inf")
_POLL_INTERVAL = 0.01


@dataclass(frozen=True, slots=True)
class _Mark:
    """A place in the queue that a thread waits for. `last_line` ends the log there."""

    last_line: bytes = b""
    reached: threading.Event = field(default_factory=threading.Event)


class LineWriter:
    """Write lines to a descriptor. `dropped_line` returns the line that reports a number of dropped lines."""

    def __init__(self, fd: int, dropped_line: Callable[[int], str], most: int = MAX_LINES) -> None:
        self._fd, self._dropped_line, self._most = fd, dropped_line, most
        self._reset()
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        """Start with an empty queue. A forked child has no writer thread, and its parent writes the parent's lines."""
        self._lines: queue.SimpleQueue[bytes | _Mark] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._drops: dict[int, int] = {}  # by thread, so that only one thread changes each count
        self._reported = 0
        self._finished = False  # the last line is written
        self._output: Output | None = None
        self.failing = False

    def write(self, line: str) -> None:
        """Queue a line, which has no line break yet. Never block and never raise."""
        if self._lines.qsize() >= self._most:
            thread = threading.get_ident()
            self._drops[thread] = self._drops.get(thread, 0) + 1
        else:
            self._lines.put(f"{line}\n".encode("utf-8", "backslashreplace"))
        self._ensure_thread()

    def finish(self, line: str, seconds: float = FLUSH) -> None:
        """Write a last line, and wait for it as `flush` does. Lines that other threads write after it are dropped."""
        self._flush(_Mark(f"{line}\n".encode("utf-8", "backslashreplace")), seconds)

    def flush(self, seconds: float = FLUSH) -> None:
        """Wait until all lines are written, for at most `seconds`. Do not wait for a descriptor that fails."""
        self._flush(_Mark(), seconds)

    def _flush(self, mark: "_Mark", seconds: float) -> None:
        until = time.monotonic() + seconds
        self._lines.put(mark)
        if not self._ensure_thread():
            self._write_queued(until)
        while not mark.reached.is_set() and not self.failing and time.monotonic() < until:
            time.sleep(_POLL_INTERVAL)

    def _ensure_thread(self) -> bool:
        """Start the thread if it is missing. Return whether it runs."""
        if self._thread is None and self._starting.acquire(blocking=False):
            thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
            with contextlib.suppress(RuntimeError):  # no thread can start, or the interpreter is ending
                thread.start()
                self._thread = thread
            self._starting.release()
        return self._thread is not None

    def _run(self) -> None:
        while True:
            self._handle(self._lines.get(), FOREVER)

    def _write_queued(self, until: float) -> None:
        """Write the queued lines on the calling thread."""
        with contextlib.suppress(queue.Empty):
            while time.monotonic() < until and not self.failing:
                self._handle(self._lines.get_nowait(), until)

    def _handle(self, line: "bytes | _Mark", until: float) -> None:
        if self._finished:
            return
        if isinstance(line, _Mark):
            self._send(line.last_line, until)
            self._finished = bool(line.last_line)
            line.reached.set()
            return
        self._send(line, until)
        dropped = sum(list(self._drops.values())) - self._reported
        if dropped:
            self._reported += dropped
            self._send(f"{self._dropped_line(dropped)}\n".encode(), until)

    def _send(self, line: bytes, until: float) -> None:
        """Write a line without tearing rows that go to the same open file.

        Release the lock between attempts on a failing descriptor, so that the sink notices the failure too.
        """
        rest = line
        while rest and time.monotonic() < until:
            output = self._shared_output()
            if output.lock.acquire(timeout=-1 if until == FOREVER else max(0.0, until - time.monotonic())):
                try:
                    continued = len(rest) < len(line) and output.torn
                    rest = self._send_to(output, rest if continued else output.on_a_new_line(line), until)
                finally:
                    output.lock.release()
            if rest and self.failing:
                time.sleep(min(RETRY_INTERVAL, max(0.0, until - time.monotonic())))

    def _shared_output(self) -> Output:
        if self._output is None:
            with contextlib.suppress(OSError):
                self._output = output_of(self._fd)
        return self._output or Output()

    def _send_to(self, output: Output, line: bytes, until: float) -> bytes:
        """Write until the end of the line or the first error. Return the unwritten rest."""
        rest = memoryview(line)
        while rest and time.monotonic() < until:
            try:
                if self._is_writable():
                    written = os.write(self._fd, rest[:WRITE_SIZE])
                    output.wrote(rest[:written])
                    rest = rest[written:]
                    self.failing = False
            except BlockingIOError:
                time.sleep(_POLL_INTERVAL)
            except OSError:
                self.failing = True
                break
        return bytes(rest)

    def _is_writable(self) -> bool:
        """Wait up to `RETRY_INTERVAL` seconds until the descriptor is writable or has an error."""
        descriptor = select.poll()
        descriptor.register(self._fd, select.POLLOUT)
        return bool(descriptor.poll(RETRY_INTERVAL * 1000))


class StandardError:
    """The stderr of this process, as plain text or as JSON lines. The format may be decided at the first line."""

    def __init__(self, fd: int = 2) -> None:
        self.fd = fd
        self._decide_format: Callable[[], bool] | None = None
        self._as_json: bool | None = None
        self._writer = LineWriter(fd, lambda count: self.line(f"{count} lines dropped", "warning", {"dropped": count}))
        self.write, self.flush = self._writer.write, self._writer.flush

    @property
    def as_json(self) -> bool:
        """Return whether each line is JSON."""
        if self._as_json is None:
            self._as_json = self._decide_format() if self._decide_format is not None else not self.is_terminal
        return self._as_json

    @property
    def is_terminal(self) -> bool:
        """Return whether stderr is a terminal."""
        try:
            return os.isatty(self.fd)
        except OSError:
            return False

    def choose(self, as_json: bool | Callable[[], bool]) -> None:
        """Set the format, or a function that returns it when the first line is written."""
        if callable(as_json):
            self._decide_format, self._as_json = as_json, None
        else:
            self._as_json = as_json

    def say(self, text: str, level: str = "info", fields: Mapping[str, object] | None = None) -> None:
        """Write a line at any log level. Plain text omits the fields, JSON includes them."""
        self.write(self.line(text, level, fields or {}))

    def finish(self, text: str, level: str = "info", fields: Mapping[str, object] | None = None) -> None:
        """Write the last line of the process like `say`, and wait for it."""
        self._writer.finish(self.line(text, level, fields or {}))

    def line(self, text: str, level: str, fields: Mapping[str, object]) -> str:
        """Return the line in the chosen format."""
        text = " ".join(text.split())
        if not self.as_json:
            return text
        moment = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        return json.dumps({"event": text, **fields, "level": level, "timestamp": moment}, default=str)


class PrintedText(io.TextIOBase):
    """Replace `sys.stderr`, so that `print` in other code neither blocks nor breaks the JSON lines.

    In JSON format a line shows where something was printed. It omits the text, which may contain a value of an event.
    """

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, stderr: StandardError) -> None:
        self._stderr = stderr
        self._partial = ""

    def write(self, text: str) -> int:
        if self._stderr.as_json:
            self._partial = (self._partial + text)[-WRITE_SIZE:]
            if "\n" in text and self._partial.strip():
                caller = sys._getframe(1)
                place = f"{caller.f_code.co_filename.rpartition('/')[2]}:{caller.f_lineno}"
                self._stderr.say("stderr.printed", "warning", {"where": place})
                self._partial = ""
            return len(text)
        *lines, self._partial = (self._partial + text).split("\n")
        for line in lines:
            self._stderr.write(line)
        return len(text)

    def flush(self) -> None:
        """Do nothing: complete lines are already queued, and a partial line waits for its end."""

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self._stderr.is_terminal

    def fileno(self) -> int:
        return self._stderr.fd


STDERR = StandardError()
