"""`call-consumer publish STREAM`: put events on a stream."""

import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from consumer.aws.calls import Calls
from consumer.aws.reasons import Reason
from consumer.cli import samples
from consumer.cli.event_files import split
from consumer.errors import ConfigurationError
from consumer.settings import load
from consumer.streams.kinesis import kinesis_client
from consumer.telemetry.stderr import STDERR

Stream = Annotated[str, typer.Argument(help="Name or ARN of the stream.", metavar="STREAM")]
Files = Annotated[
    list[Path] | None,
    typer.Argument(
        help="Files with one event each, or JSON lines; - for standard input. Without files, sample events are made.",
        metavar="FILE",
        allow_dash=True,
    ),
]
Count = Annotated[int, typer.Option(min=1, help="Number of sample events.", metavar="COUNT")]
Seed = Annotated[
    int | None,
    typer.Option(help="Make the same sample ids for the same seed [default: new ids each time].", metavar="NUMBER"),
]
Aggregate = Annotated[
    int, typer.Option(min=1, max=10_000, help="Events per KPL aggregate; 1 makes plain records.", metavar="COUNT")
]
Region = Annotated[str | None, typer.Option(help="AWS region.", metavar="NAME")]
Endpoint = Annotated[str | None, typer.Option(help="Endpoint of Kinesis, such as LocalStack's.", metavar="URL")]


def command(
    stream: Stream,
    files: Files = None,
    count: Count = 10,
    seed: Seed = None,
    aggregate: Aggregate = 1,
    region: Region = None,
    endpoint_url: Endpoint = None,
) -> None:
    """Put sample events or files on a stream.

    Sample events have new ids each time, because a sink drops repeated ids. With --seed, the ids are the same again.
    """
    given = {"region": region, "endpoint_url": endpoint_url}
    settings = load({"stream": stream, **given})
    events = list(_from_files(files) if files else samples.numbered(count, _first_number(seed)))
    client = kinesis_client(stream, settings.region, settings.endpoint_url, 1)
    _put(client, stream, samples.records(events, aggregate))
    typer.echo(f"{len(events)} events in {-(-len(events) // aggregate)} records")


def _from_files(files: Sequence[Path]) -> Iterator[bytes]:
    for file in files:
        try:
            yield from split(sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes())
        except OSError as error:
            raise ConfigurationError(f"{file}: {error.strerror}") from None


def _first_number(seed: int | None) -> int:
    """Return a random 128-bit number whose low half is zero, so that ids of two runs differ."""
    return random.Random(seed).getrandbits(64) << 64


def _put(client: object, stream: str, data: Sequence[bytes]) -> None:
    # Bypass our line writer, because a progress bar is not made of lines. Only a terminal shows it.
    console = Console(file=sys.__stderr__)
    with Progress(console=console, transient=True, disable=STDERR.as_json or not STDERR.is_terminal) as progress:
        task = progress.add_task("publishing", total=len(data))
        with Calls(f"stream {stream}", client, ConfigurationError, _absent).checking("PutRecords"):
            for sent in samples.put(client, stream, data):
                progress.advance(task, sent)


def _absent(_action: str, found: Reason) -> ConfigurationError | None:
    hint = "there is no such stream: check the name, --region and --endpoint-url"
    return ConfigurationError(hint) if found.code == "ResourceNotFoundException" else None
