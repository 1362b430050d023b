"""Show the progress of a replay: a bar on a terminal, lines elsewhere."""

import sys
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from consumer.structured_log import structlog


class Bar:
    """A bar on standard error. It bypasses our line writer, because it is not made of lines.

    It is drawn by `show` only, so that no other thread than the caller's waits for a terminal that is stopped.
    """

    def __init__(self, shown: bool) -> None:
        self.shown = shown
        columns = TextColumn("time covered"), BarColumn(), TaskProgressColumn(), TextColumn("{task.description}")
        console = Console(file=sys.__stderr__)
        self._progress = Progress(
            *columns, TimeElapsedColumn(), console=console, transient=True, auto_refresh=False, disable=not shown
        )
        self._task = self._progress.add_task("", total=100)

    def __enter__(self) -> "Bar":
        if self.shown:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.shown:
            self._progress.stop()

    def show(self, share: float, rows: int, rate: float) -> None:
        """Draw the bar."""
        self._progress.update(self._task, completed=100 * share, description=f"{rows} rows, {rate:.0f} rows/s")
        self._progress.refresh()


def log_progress(share: float, rows: int, rate: float) -> None:
    """Log a line."""
    log: Any = structlog.get_logger()
    log.info("replay.progress", covered=f"{share:.0%}", rows=rows, rows_per_second=round(rate))
