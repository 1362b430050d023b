"""The command `call-consumer`, and `python -m consumer`. Signal handlers are installed before any module is loaded."""

import _signal  # type: ignore[import-not-found] # `signal` would load a dozen modules first
import os
import sys


def _exit_at_once(number: int, _frame: object) -> None:
    """Exit, because nothing has started that would need an orderly end. A credential process would go on."""
    end_all = getattr(sys.modules.get("consumer.aws.credential_process"), "end_all", None)
    if end_all is not None:
        end_all()
    os._exit(128 + number)


for _number in (_signal.SIGTERM, _signal.SIGINT):
    _signal.signal(_number, _exit_at_once)


def main() -> None:
    """Load and run the command line. A failed import is one line on stderr and exit code 1."""
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
