"""`call-consumer run STREAM`: the worker."""

import os
from typing import Annotated, Any

import typer

from consumer.cli.options import with_settings
from consumer.process import signals
from consumer.runtime.scheduler import share_one_heap
from consumer.settings import load
from consumer.telemetry import logs

Stream = Annotated[str | None, typer.Argument(help="The stream: its name, or its ARN.", show_default=False)]
Config = Annotated[str | None, typer.Option("--config", help="A TOML file with any of these settings.")]


@with_settings
def command(stream: Stream = None, config: Config = None, **flags: Any) -> None:
    """Read a stream until told to stop.

    Exit codes: 0 done, 1 unexpected, 2 configuration or usage, 3 stopped before all was delivered.
    """
    from consumer.app import build  # loads botocore, which --help does not need

    settings = load({"stream": stream, **flags}, config)
    logs.configure(settings.log_level, settings.log_format)
    share_one_heap()
    worker = build(settings)
    with signals() as told:
        code = worker.run(told)
        counts = worker.metrics.summary()
        counts.pop("lag")
        text = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in counts.items())
        logs.say(text, fields={"exit_code": int(code), **counts})
        logs.flush()
        os._exit(code)  # a thread may still hang in a sink; everything that matters is durable
