"""Configure logging: structlog writes to stderr, as JSON or as coloured text. No other module configures logging.

The log never contains a value of an event: it names events by type, location and reason. structlog is imported late,
because it would take half of the time that `--help` may take.
"""

import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from consumer.telemetry import foreign
from consumer.telemetry.stderr import STDERR, PrintedText

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
# Levels for other libraries. They log one level less, and never debug: at debug they log requests with credentials.
FOREIGN_LEVELS = {**LEVELS, "debug": logging.INFO, "info": logging.WARNING}


def begin(arguments: Sequence[str]) -> None:
    """Take over all output of this process to stderr. Call this first, once per process."""
    try:
        os.fstat(STDERR.fd)
    except OSError:  # closed: reserve its number, or the next file or socket would get the log
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, STDERR.fd)
        if nothing != STDERR.fd:
            os.close(nothing)
    STDERR.choose(lambda: _is_json_wanted(arguments))
    sys.stderr = PrintedText(STDERR)
    sys.excepthook = lambda _type, error, _trace: foreign.crashed(error)
    sys.unraisablehook = foreign.unraisable
    threading.excepthook = foreign.thread_failed
    warnings.showwarning = foreign.warned
    _capture_library_logs(logging.WARNING, _formatter)


def configure(level: str = "info", form: str = "auto") -> None:
    """Set level and format of the log. `form`: json, console, or auto (json unless stderr is a terminal)."""
    from consumer.structured_log import structlog

    STDERR.choose(form == "json" or (form == "auto" and not STDERR.is_terminal))
    render = _renderer()
    structlog.configure(
        processors=[*_common_processors(), render],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=_StderrLogger,
        cache_logger_on_first_use=False,
    )
    _capture_library_logs(FOREIGN_LEVELS[level], lambda: _formatter(render))


def say(text: str, level: str = "info", fields: Mapping[str, object] | None = None) -> None:
    """Write a line at any log level, such as why a command ends. Plain text omits the fields, JSON includes them."""
    STDERR.say(text, level, fields)


def finish(text: str, level: str = "info", fields: Mapping[str, object] | None = None) -> None:
    """Write why the process ends as its last line, and wait for it for at most a second. Then call `os._exit`.

    Threads may still run, such as one in a write that hangs. What they log after this line is dropped.
    """
    STDERR.finish(text, level, fields)


def flush() -> None:
    """Wait until all lines are written, for at most a second. Call this before `os._exit`."""
    STDERR.flush()


def _is_json_wanted(arguments: Sequence[str]) -> bool:
    """Return whether the settings select JSON. They may be what fails to load, so look only for the format."""
    try:
        from consumer.settings import log_format

        form = log_format(arguments)
    except Exception:  # an invalid setting is reported later, in this format
        form = "auto"
    return form == "json" or (form == "auto" and not STDERR.is_terminal)


class _StderrLogger:
    """The logger that structlog writes to."""

    def __init__(self, *_: object) -> None:
        self.debug = self.info = self.warning = self.error = self.critical = self.msg = STDERR.write


def _common_processors() -> list[Any]:
    from consumer.structured_log import structlog

    return [structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso", utc=True)]


def _renderer() -> Callable[[Any, str, Any], str]:
    """Return the last processor. If a field cannot be rendered, log that instead of raising."""
    from consumer.settings import is_colour_wanted
    from consumer.structured_log import structlog

    if STDERR.as_json:
        render: Any = structlog.processors.JSONRenderer()
    else:
        render = structlog.dev.ConsoleRenderer(colors=STDERR.is_terminal and is_colour_wanted())

    def rendered(logger: Any, name: str, fields: Any) -> str:
        event = str(fields.get("event"))
        try:
            return str(render(logger, name, fields))
        except Exception as error:
            return STDERR.line(event, name, {"error": f"cannot render a field: {type(error).__name__}"})

    return rendered


def _formatter(render: Callable[[Any, str, Any], str] | None = None) -> logging.Formatter:
    from consumer.structured_log import structlog

    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[foreign.describe, *_common_processors()],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render or _renderer()],
        use_get_message=False,
        pass_foreign_args=True,
    )


def _capture_library_logs(level: int, formatter: Callable[[], logging.Formatter]) -> None:
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    root.addHandler(foreign.ForeignHandler(STDERR, formatter))
    root.setLevel(level)
