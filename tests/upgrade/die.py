"""A worker that is killed at its first write of a kind: python die.py letters|rows|checkpoint run STREAM …

It runs whichever release PYTHONPATH names, so it uses nothing that a release may rename without a test to say so.
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
    """End as kill -9 does: nothing is flushed, nothing released."""
    os._exit(137)


def die_in(method: str, kind: Any, when: Any) -> None:
    """Die instead of calling the method when a condition holds."""
    real = getattr(kind, method)
    setattr(kind, method, lambda *given, **named: die() if when(*given) else real(*given, **named))


def main_until(point: str) -> None:
    """Run the command line up to that point."""
    if point == "checkpoint":
        for table in (SqliteLeaseTable, _dynamodb_lease_table()):
            die_in("write", table, lambda _, changes: any(_delivered(*change) for change in changes))
    else:
        die_in("write", JsonlSink, lambda sink, _: sink._mode == (0o600 if point == "letters" else 0o666))
    main()


def _dynamodb_lease_table() -> Any:
    """Find the class where this release, or the earlier one, has it."""
    room = importlib.import_module("consumer.leases.dynamodb")
    if not hasattr(room, "DynamoDbLeaseTable"):
        room = importlib.import_module("consumer.leases.dynamodb.table")
    return room.DynamoDbLeaseTable


def _delivered(before: Lease, after: Lease) -> bool:
    return before.pending is not None and after.pending is None


if __name__ == "__main__":
    main_until(sys.argv.pop(1))
