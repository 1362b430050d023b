"""Decode the sample events. `python -m tests.unit.example_rows` writes the rows that are missing beside them."""

import json
from pathlib import Path
from typing import Any

from consumer.records import Skipped
from schemas import examples
from tests.events import decode

FOLDER = Path(examples.__file__).parent / "rows"


def row_of(name: str) -> dict[str, Any]:
    """Return the row of a sample. For a skipped sample, return its type as `skipped`."""
    [outcome] = decode(examples.load(name))
    if isinstance(outcome, dict):
        return outcome
    assert isinstance(outcome, Skipped), f"{name} becomes a dead letter"
    return {"skipped": outcome.event_type}


def main() -> None:
    """Write the missing rows. Review them: from now on they are what the tests expect."""
    for name in examples.names():
        path = FOLDER / f"{name}.json"
        if not path.exists():
            path.write_text(json.dumps(row_of(name), indent=2, ensure_ascii=False) + "\n", "utf-8")
            print(f"wrote {path.relative_to(Path.cwd())}")


if __name__ == "__main__":
    main()
