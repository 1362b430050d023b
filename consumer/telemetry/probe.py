"""Asks a page of a worker: `python -m consumer.telemetry.probe http://127.0.0.1:8080/livez`. Ends with 0 or 1.

For whoever can only run a command to see whether a container is well, such as ECS; imports nothing of the worker, so
that it is done in a tenth of a second.
"""

import sys
import urllib.request

# Less than what ECS and Docker give a check; the page itself answers in milliseconds.
TIMEOUT = 3.0


def main(url: str) -> int:
    """0 if the page says 200."""
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=TIMEOUT) as answer:
            return int(answer.status != 200)
    except OSError as error:
        print(f"{url}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
