"""Asks a page of a worker: `python -m consumer.telemetry.probe http://127.0.0.1:8080/livez`. Ends with 0 or 1.

For whoever can only run a command to see whether a container is well, such as ECS; imports nothing of the worker, so
that it is done in a tenth of a second. What it says on stderr is JSON like the worker's, unless a person reads.
"""

import json
import os
import sys
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException

# Less than what ECS and Docker give a check; the page itself answers in milliseconds.
TIMEOUT = 3.0
USAGE = "python -m consumer.telemetry.probe URL: give one URL, such as http://127.0.0.1:8080/livez"


def main(arguments: Sequence[str]) -> int:
    """0 if the page says 200."""
    if len(arguments) != 1:
        return _not_well(USAGE)
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(arguments[0], timeout=TIMEOUT) as answer:
            return int(answer.status != 200)
    except (OSError, ValueError, HTTPException) as error:
        return _not_well(f"{arguments[0]}: {error}")
    except KeyboardInterrupt:
        return 130


def _not_well(why: str) -> int:
    why = " ".join(why.split())
    if sys.stderr is not None:
        print(why if _for_a_person() else json.dumps({"event": why, "level": "error"}), file=sys.stderr)
    return 1


def _for_a_person() -> bool:
    form = os.environ.get("CALL_CONSUMER_LOG_FORMAT", "auto").strip().lower()
    return form == "console" or (form != "json" and sys.stderr.isatty())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
