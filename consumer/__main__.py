"""The command `call-consumer`, and `python -m consumer`: signals are seen to before anything else is loaded."""

from consumer.process import end_at_once_on_signals

end_at_once_on_signals()


def main() -> None:
    """Load the command line, and run it. What cannot be loaded is one line, like everything on stderr from here on."""
    import os
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
