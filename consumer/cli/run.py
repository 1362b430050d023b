"""`call-consumer run STREAM`: run the worker."""

import os
from typing import Any

from consumer.cli.options import Config, Stream, with_settings
from consumer.process import signals
from consumer.runtime.scheduler import share_one_heap
from consumer.settings import load
from consumer.telemetry import logs


@with_settings
def command(stream: Stream = None, config: Config = None, **flags: Any) -> None:
    """Read a stream and write its events as rows.

    The worker runs until SIGTERM or SIGINT, or with --until-caught-up until every shard is read.
    Exit codes: 0 done, 1 unexpected error, 2 configuration or usage, 3 stopped before everything was delivered.
    """
    from consumer.app import create_worker  # loads botocore, which --help does not need

    settings = load({"stream": stream, **flags}, config)
    logs.configure(settings.log_level, settings.log_format)
    share_one_heap()
    worker = create_worker(settings)
    with signals() as received:
        code = worker.run(received)
        counts = worker.metrics.summary()
        counts.pop("lag")
        text = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in counts.items())
        logs.finish(text, fields={"exit_code": int(code), **counts})
        os._exit(code)  # a thread may still hang in a sink; everything that matters is durable
