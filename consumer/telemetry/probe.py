"""Request a page of a worker: `python -m consumer.telemetry.probe http://127.0.0.1:8080/livez`. Exit with 0 or 1.

Use it where a health check can only run a command, such as on ECS. It imports nothing of the worker, so it takes at
most a tenth of a second. Its line on stderr is JSON like the worker's, unless stderr is a terminal.
"""

import json
import os
import sys
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException

# Seconds. ECS and Docker allow a check more than this; the page itself responds within milliseconds.
TIMEOUT = 3.0
USAGE = "python -m consumer.telemetry.probe URL: give one URL, such as http://127.0.0.1:8080/livez"


def main(arguments: Sequence[str]) -> int:
    """Return 0 if the response has status 200, else 1; 130 after Ctrl-C."""
    if len(arguments) != 1:
        return _fail(USAGE)
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            arguments[0], timeout=TIMEOUT
        ) as response:
            return int(response.status != 200)
    except (OSError, ValueError, HTTPException) as error:
        return _fail(f"{arguments[0]}: {error}")
    except KeyboardInterrupt:
        return 130


def _fail(problem: str) -> int:
    problem = " ".join(problem.split())
    if sys.stderr is not None:
        print(problem if _is_plain_text() else json.dumps({"event": problem, "level": "error"}), file=sys.stderr)
    return 1


def _is_plain_text() -> bool:
    form = os.environ.get("CALL_CONSUMER_LOG_FORMAT", "auto").strip().lower()
    return form == "console" or (form != "json" and sys.stderr.isatty())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
