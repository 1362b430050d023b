"""`call-consumer replay STREAM`: read a part of a stream again."""

import os
import time
from typing import Annotated, Any

import typer

from consumer.cli.bar import Bar, log_progress
from consumer.cli.options import Config, Stream, with_some_settings
from consumer.process import Exit, signals
from consumer.runtime.scheduler import share_one_heap
from consumer.settings import Settings, load
from consumer.telemetry import logs
from consumer.telemetry.stderr import STDERR

SHOWN = [name for name in Settings.model_fields if name not in ("until_caught_up", "max_leases", "worker_id")]
To = Annotated[
    str | None,
    typer.Option(help="Leave out records that arrived at this time or later [default: now].", metavar="TIME"),
]
Shards = Annotated[list[str] | None, typer.Option("--shard", help="Only this shard; may be repeated.", metavar="NAME")]
Only = Annotated[
    list[str] | None,
    typer.Option(
        help="Only rows whose type, sid or address (from or to) is VALUE; * stands for any text. May be repeated: one"
        " of the values has to match for each of the fields.",
        metavar="type|sid|address=VALUE",
    ),
]
Share = Annotated[
    float,
    typer.Option(
        min=0.01,
        max=1.0,
        help="How much of each shard's 5 reads and 2 MB per second to use; the workers need the rest.",
        metavar="SHARE",
    ),
]


@with_some_settings(SHOWN)
def command(
    stream: Stream = None,
    to: To = None,
    shard: Shards = None,
    only: Only = None,
    share: Share = 0.5,
    config: Config = None,
    **flags: Any,
) -> None:
    """Read a part of a stream again, beside its workers.

    --from is required. The replay has checkpoints that no worker uses, and ends by itself. A run that was interrupted
    continues with the same --from and --to. Exit codes: 0 done, 1 unexpected error, 2 configuration or usage, 3 stopped
    before everything was delivered.
    """
    from consumer.app import create_worker  # loads botocore, which --help does not need
    from consumer.replay.bounds import bounds_of
    from consumer.replay.progress import DRAWN, LOGGED
    from consumer.replay.replay import Replay
    from consumer.replay.selection import Selection

    selection = Selection(only) if only else None
    bounds = bounds_of(flags["from_"], to, shard or [], only or [])
    settings = load({"stream": stream, **flags}, config)
    bar = Bar(STDERR.is_terminal and settings.log_format != "json")
    quiet = bar.shown and flags["log_level"] is None  # lines would tear the bar
    logs.configure("warning" if quiet else settings.log_level, settings.log_format)
    share_one_heap()
    replay = Replay(bounds, share, selection, bar.show if bar.shown else log_progress, DRAWN if bar.shown else LOGGED)
    worker = create_worker(replay.settings(settings, keep_http=flags["http"] is not None), replay)
    logs.say(f"replay of {settings.stream}: {bounds.arguments}", fields={"checkpoints": bounds.suffix})
    began = time.monotonic()
    with signals() as received:
        with bar:
            code = worker.run(received)
        counts = _counts(worker.metrics.summary(), time.monotonic() - began)
        logs.finish(_summary(code, counts, bounds.arguments), fields={"exit_code": int(code), **counts})
        os._exit(code)  # a thread may still hang in a sink; everything that matters is durable


def _counts(counts: dict[str, int | float], seconds: float) -> dict[str, int | float]:
    rate = {"seconds": round(seconds, 1), "rows_per_second": round((counts["written"] + counts["repeated"]) / seconds)}
    return {name: count for name, count in counts.items() if name != "lag"} | rate


def _summary(code: Exit, counts: dict[str, int | float], arguments: str) -> str:
    text = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in counts.items())
    if code is Exit.DONE:
        return f"replay complete: {text}"
    return f"replay incomplete: {text}; to continue, run the same command with {arguments}"
