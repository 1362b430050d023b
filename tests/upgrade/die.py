"""Run a worker that dies at its first write of a kind: python die.py letters|rows|checkpoint run STREAM …

PYTHONPATH selects the release. So this module uses only names that both releases have, and a test notices a rename.
"""

import importlib
import os
import sys
from typing import Any, NoReturn

from consumer.cli import main
from consumer.leases.lease import Lease
from consumer.leases.sqlite import SqliteLeaseTable
from consumer.sinks.jsonl import JsonlSink


def die(*_: Any, **__: Any) -> NoReturn:
    """End as kill -9 does: flush and release nothing."""
    os._exit(137)


def die_in(method: str, kind: Any, when: Any) -> None:
    """Replace a method, so that the process dies instead of calling it when a condition holds."""
    real = getattr(kind, method)
    setattr(kind, method, lambda *given, **named: die() if when(*given) else real(*given, **named))


def main_until(point: str) -> None:
    """Run the command line up to that point."""
    if point == "checkpoint":
        for table in (SqliteLeaseTable, _dynamodb_lease_table()):
            die_in("write", table, lambda _, changes: any(_delivered(*change) for change in changes))
    else:
        die_in("write", JsonlSink, lambda sink, _: _holds_dead_letters(sink) == (point == "letters"))
    main()


def _holds_dead_letters(sink: Any) -> bool:
    """Return whether it is the sink of dead letters. Only the earlier release keeps the mode of its files."""
    if hasattr(sink, "_mode"):
        return bool(sink._mode == 0o600)
    return any("dead-letters" in suffix for suffix in sink._suffixes)


def _dynamodb_lease_table() -> Any:
    """Return the class from the module of this release or of the earlier one."""
    room = importlib.import_module("consumer.leases.dynamodb")
    if not hasattr(room, "DynamoDbLeaseTable"):
        room = importlib.import_module("consumer.leases.dynamodb.table")
    return room.DynamoDbLeaseTable


def _delivered(before: Lease, after: Lease) -> bool:
    return before.pending is not None and after.pending is None


if __name__ == "__main__":
    main_until(sys.argv.pop(1))
