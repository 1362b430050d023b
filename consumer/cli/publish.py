"""`call-consumer publish STREAM`: put events on a stream."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from consumer.aws.calls import Calls
from consumer.aws.reasons import Reason
from consumer.cli import samples
from consumer.errors import ConfigurationError
from consumer.settings import load
from consumer.streams.kinesis import kinesis_client
from consumer.telemetry.stderr import STDERR

Stream = Annotated[str, typer.Argument(help="The stream: its name, or its ARN.")]
Files = Annotated[list[Path] | None, typer.Argument(help="Files with one event each; without any, samples are made.")]
Count = Annotated[int, typer.Option(min=1, help="How many sample events.")]
Aggregate = Annotated[int, typer.Option(min=1, max=10_000, help="Events in each KPL aggregate; 1: plain records.")]
Region = Annotated[str | None, typer.Option(help="AWS region.")]
Endpoint = Annotated[str | None, typer.Option(help="Another endpoint, such as LocalStack's.")]


def command(
    stream: Stream,
    files: Files = None,
    count: Count = 10,
    aggregate: Aggregate = 1,
    region: Region = None,
    endpoint_url: Endpoint = None,
) -> None:
    """Put sample events, or those of files, on a stream."""
    given = {"region": region, "endpoint_url": endpoint_url}
    settings = load({"stream": stream, **given})
    try:
        events = [file.read_bytes() for file in files] if files else list(samples.numbered(count))
    except OSError as error:
        raise ConfigurationError(f"{error.filename}: {error.strerror}") from None
    client = kinesis_client(stream, settings.region, settings.endpoint_url, 1)
    data = samples.records(events, aggregate)
    # The stream underneath: a bar is no line, and only a person is shown one.
    console = Console(file=sys.__stderr__)
    with Progress(console=console, transient=True, disable=STDERR.as_json or not STDERR.is_terminal) as progress:
        task = progress.add_task("publishing", total=len(data))
        with Calls(f"stream {stream}", client, ConfigurationError, _absent).checking("PutRecords"):
            for sent in samples.put(client, stream, data):
                progress.advance(task, sent)
    typer.echo(f"{len(events)} events in {len(data)} records")


def _absent(_action: str, found: Reason) -> ConfigurationError | None:
    hint = "there is no such stream: check the name, --region and --endpoint-url"
    return ConfigurationError(hint) if found.code == "ResourceNotFoundException" else None
