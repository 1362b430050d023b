"""The command `call-consumer`, and `python -m consumer`: signals are seen to before anything else is loaded."""

import _signal  # type: ignore[import-not-found] # `signal` itself would load a dozen modules first
import os


def _end_at_once(number: int, _frame: object) -> None:
    os._exit(128 + number)  # nothing has begun that would have to be put in order


for _number in (_signal.SIGTERM, _signal.SIGINT):
    _signal.signal(_number, _end_at_once)


def main() -> None:
    """Load the command line, and run it. What cannot be loaded is one line, like everything on stderr from here on."""
    import sys

    from consumer.telemetry import foreign, logs

    logs.begin(sys.argv[1:])
    try:
        from consumer.cli import main as command_line
    except Exception as error:
        foreign.crashed(error)
        logs.flush()
        os._exit(1)
    command_line()


if __name__ == "__main__":
    main()
