"""Write the JSON Schemas of rows and dead letters to schemas/json (`python -m schemas`); `--check` only compares."""

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from schemas.call_request import CALL_REQUEST_VERSION, CallRequest
from schemas.dead_letter import DeadLetter

FOLDER = Path(__file__).parent / "json"


def documents() -> dict[str, str]:
    """Return the text of each schema by its file name."""
    shapes: dict[str, Any] = {
        f"call_request.v{CALL_REQUEST_VERSION}.json": CallRequest,
        "dead_letter.v1.json": DeadLetter,
    }
    return {name: json.dumps(TypeAdapter(shape).json_schema(), indent=2) + "\n" for name, shape in shapes.items()}


def drifted() -> list[str]:
    """Return the names of the files that are missing or differ from the code."""
    return [
        name
        for name, text in documents().items()
        if not (FOLDER / name).exists() or (FOLDER / name).read_text("utf-8") != text
    ]


def main() -> int:
    """Write or check the files; return the exit code."""
    if "--check" in sys.argv[1:]:
        for name in drifted():
            print(f"schemas/json/{name} is out of date: run python -m schemas", file=sys.stderr)
        return 1 if drifted() else 0
    for name, text in documents().items():
        (FOLDER / name).write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
