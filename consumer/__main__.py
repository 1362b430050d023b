"""The command `call-consumer`, and `python -m consumer`: signals are seen to before anything else is loaded."""

import _signal  # type: ignore[import-not-found] # `signal` itself would load a dozen modules first
import os


def _end_at_once(number: int, _frame: object) -> None:
    os._exit(128 + number)  # nothing has begun that would have to be put in order


for _number in (_signal.SIGTERM, _signal.SIGINT):
    _signal.signal(_number, _end_at_once)


def main() -> None:
    """Load the command line, and run it."""
    from consumer.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()
