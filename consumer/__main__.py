"""The command `call-consumer`, and `python -m consumer`. Signal handlers are installed before any module is loaded."""

import _signal  # type: ignore[import-not-found] # `signal` would load a dozen modules first
import os


def _exit_at_once(number: int, _frame: object) -> None:
    os._exit(128 + number)  # nothing has started yet that would need an orderly end


for _number in (_signal.SIGTERM, _signal.SIGINT):
    _signal.signal(_number, _exit_at_once)


def main() -> None:
    """Load and run the command line. A failed import is one line on stderr and exit code 1."""
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
