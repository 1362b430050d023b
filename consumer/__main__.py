"""The command `call-consumer`, and `python -m consumer`: signals are seen to before anything else is loaded."""

from consumer.process import end_at_once_on_signals

end_at_once_on_signals()


def main() -> None:
    """Load the command line, and run it."""
    from consumer.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()
