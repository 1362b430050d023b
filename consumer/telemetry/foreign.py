"""Log what other code reports: library logs, warnings and uncaught errors. Each is one line without a traceback.

Error texts and formatted messages may contain secrets of a URL, output of a credential helper, or values of an event.
So log only types, locations, and message texts that are literals in the source.
"""

import logging
import sys
import threading
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, TextIO

from consumer.errors import where
from consumer.telemetry.stderr import STDERR, StandardError

WITHHELD = "…"
_WARNINGS = logging.getLogger("python.warnings")


class ForeignHandler(logging.Handler):
    """Write log records of other libraries in our format. Make the formatter when the first record arrives."""

    def __init__(self, stderr: StandardError, formatter: Callable[[], logging.Formatter]) -> None:
        super().__init__()
        self._stderr, self._make_formatter = stderr, formatter

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.formatter = self.formatter or self._make_formatter()
            record.literal = _is_literal(record)
            self._stderr.write(self.format(record))
        except Exception:
            self._stderr.say("cannot format a line of a library", "warning", {"logger": record.name})


def _is_literal(record: logging.LogRecord) -> bool:
    """Return whether the message is a literal in the function that logs it. A literal contains no value."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        code = frame.f_code
        if code.co_filename == record.pathname and code.co_name == record.funcName:
            return isinstance(record.msg, str) and record.msg in code.co_consts
        frame = frame.f_back
    code = frame.f_code
    return code.co_filename == record.pathname and isinstance(record.msg, str) and record.msg in code.co_consts


def describe(_logger: object, _name: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Keep only the safe parts of a record. This is a processor of structlog's formatter."""
    record = fields["_record"]
    arguments, caught = fields.pop("positional_args", None), fields.pop("exc_info", None)
    fields.pop("stack_info", None)
    fields["event"] = _text(record, arguments) if record.literal else "message withheld because it may contain values"
    fields["logger"] = record.name
    if not record.literal:
        fields["where"] = f"{record.filename}:{record.lineno}"
    if caught and caught[1] is not None:
        fields.update({"error": type(caught[1]).__name__, "where": where(caught[1])})
    fields.update(getattr(record, "fields", {}))
    return fields


def _text(record: logging.LogRecord, arguments: Any) -> str:
    """Return the message with its numeric arguments. Replace all other arguments, which may contain anything."""
    text = " ".join(record.msg.split())
    if not arguments:
        return text
    if isinstance(arguments, Mapping):
        shown: Any = {name: _shown(value) for name, value in arguments.items()}
    else:
        shown = tuple(_shown(value) for value in arguments)
    try:
        return str(text % shown)
    except (TypeError, ValueError, KeyError):
        return text


def _shown(value: object) -> object:
    if isinstance(value, BaseException):
        return type(value).__name__
    return value if isinstance(value, int | float | None) else WITHHELD


# Hooks of the interpreter --------------------------------------------------------------------------------------------


def crashed(error: BaseException) -> None:
    """Log an unforeseen error that ends the process."""
    if isinstance(error, KeyboardInterrupt):
        return
    what = type(error).__name__
    if isinstance(error, ImportError) and error.name:
        what += f" of {error.name}"
    _report("call-consumer: unexpected", what, where(error))


def thread_failed(failed: threading.ExceptHookArgs) -> None:
    """Log an error that ended a thread."""
    if failed.exc_value is not None and not isinstance(failed.exc_value, SystemExit):
        name = failed.thread.name if failed.thread else "?"
        _report(f"thread {name} ended", type(failed.exc_value).__name__, where(failed.exc_value))


def unraisable(failed: Any) -> None:
    """Log an error that Python could not raise, such as one in a finalizer."""
    if failed.exc_value is not None:
        _report("ignored", type(failed.exc_value).__name__, where(failed.exc_value))


def warned(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Log the category and the location of a Python warning. Omit its text, which may contain a value."""
    place = f"{filename.rpartition('/')[2]}:{lineno}"
    _WARNINGS.warning("Python warning", extra={"fields": {"category": category.__name__, "where": place}})


def _report(what: str, error: str, place: str) -> None:
    STDERR.say(f"{what}: {error} at {place}", "error", {"error": error, "where": place})
