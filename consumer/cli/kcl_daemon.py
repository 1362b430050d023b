"""`call-consumer kcl-daemon`: process the records of one shard under Amazon's MultiLangDaemon."""

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from consumer.app import create_record_processor
from consumer.cli.options import Config, Stream, with_some_settings
from consumer.errors import ConfigurationError
from consumer.multilang.properties import properties
from consumer.multilang.settings import NAMES
from consumer.settings import flag, load
from consumer.telemetry import logs

Properties = Annotated[bool, typer.Option("--properties", help="Print the daemon's .properties file and exit.")]

STARTED_BY = "Amazon's MultiLangDaemon starts this command; see kcl-daemon --properties"


@with_some_settings(NAMES)
def command(stream: Stream = None, config: Config = None, properties_: Properties = False, **flags: Any) -> None:
    """Run under Amazon's MultiLangDaemon.

    The daemon starts one process per shard, and keeps leases and checkpoints itself; --leases has no effect.
    Exit codes: 0 done, 1 unexpected error, 2 configuration or usage, 3 the daemon ended before
    everything was delivered.
    """
    given = {"stream": stream, **flags}
    settings = load(given, config)
    if properties_:
        create_record_processor(settings, 0, 1)  # report now what the daemon would only log
        typer.echo(properties(settings, _command(given, config)), nl=False)
        return
    if sys.stdin is None or sys.stdout is None:
        raise ConfigurationError(f"kcl-daemon: standard {'output' if sys.stdin else 'input'} is closed: {STARTED_BY}")
    if sys.stdin.isatty():
        raise ConfigurationError(f"kcl-daemon: {STARTED_BY}")
    logs.configure(settings.log_level, settings.log_format)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # they reach the whole process group; the daemon tells us when to end
    protocol = os.dup(1)
    os.dup2(2, 1)  # other prints go to stderr, because stdout is the daemon's protocol
    child = create_record_processor(settings, 0, protocol)
    code = child.run()
    logs.flush()
    os._exit(code)


def _command(given: Mapping[str, object], config: str | None) -> list[str]:
    """Return this command line without --properties."""
    program = Path(sys.argv[0]).absolute()
    command = [str(program)] if program.name == "call-consumer" else [sys.executable, "-m", "consumer"]
    command.append("kcl-daemon")
    for name, value in given.items():
        if value is True:
            command.append(flag(name))
        elif value is not None and name != "stream":
            command += [flag(name), str(value)]
    if config:
        command += ["--config", str(Path(config).absolute())]
    return [*command, str(given["stream"])] if given["stream"] else command
