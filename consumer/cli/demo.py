"""`call-consumer demo`: the main job with nothing set up, on an embedded Kinesis."""

import json
import logging
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from consumer.cli import samples
from consumer.errors import ConfigurationError
from consumer.process import signals
from consumer.streams.kinesis import kinesis_client
from schemas import examples

STREAM = "twilio-events"
# How long the worker may take to end when the demo is told to, seconds.
WORKER_ENDS = 10.0
PLAIN, AGGREGATED, PER_RECORD = 40, 60, 20
ACCESS = {
    "AWS_ACCESS_KEY_ID": "demo",
    "AWS_SECRET_ACCESS_KEY": "demo",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
BROKEN = [
    b"this is no JSON",
    b'{"type": "com.twilio.voice.api-request.call.created"}',
    b"\xf3\x89\x9a\xc2 torn aggregate",
]

Directory = Annotated[
    Path | None, typer.Option(help="Where rows and dead letters go [default: a temporary directory].")
]


def command(directory: Directory = None) -> None:
    """Show the whole job: an embedded Kinesis, sample events, the real worker, and what came of them."""
    console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout and sys.stdout.isatty() else 120)
    directory = _folder(directory)
    with embedded_kinesis() as endpoint:
        expected = _publish(console, endpoint)
        console.print("[bold]2.[/] The real worker reads until it has caught up, into SQLite:")
        code = _run_worker(endpoint, directory)
    if code != 0:
        raise ConfigurationError(f"the demo's worker ended with {code}")
    found = _show(console, directory)
    if found != expected:
        raise ConfigurationError(f"the demo expected {expected} and found {found}")
    console.print(
        "\n[bold green]All there:[/] every event is a row, a skip or a dead letter.\n\nNext:\n"
        f"  sqlite3 {directory}/rows.db 'SELECT occurred_at, to_address, response_status FROM call_requests'\n"
        f"  {sys.argv[0]} doctor YOUR-STREAM\n"
        f"  {sys.argv[0]} run YOUR-STREAM --sink jsonl:rows\n  {sys.argv[0]} run --help"
    )


def _folder(named: Path | None) -> Path:
    """A directory that can be written to: the one that was named, or a temporary one.

    Raises:
        ConfigurationError: there is none.
    """
    try:
        directory = named or Path(tempfile.mkdtemp(prefix="call-consumer-demo-"))
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            return directory
    except OSError as error:
        where = f"--directory {named}" if named else "the demo needs a place for its files"
        raise ConfigurationError(
            f"{where}: {error.strerror or error}; name one that can be written to: --directory DIR"
        ) from None


@contextmanager
def embedded_kinesis() -> Iterator[str]:
    """moto's server in a thread; yields its URL.

    Raises:
        ConfigurationError: moto is not installed.
    """
    try:
        from moto.server import ThreadedMotoServer
    except ImportError:
        raise ConfigurationError(
            "the demo needs moto: pip install '.[demo]' in a checkout, or pip install 'call-request-consumer[demo]'"
        ) from None
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # no line for each request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def _publish(console: Console, endpoint: str) -> dict[str, int]:
    """Put the samples on a new stream; returns what is to become of them."""
    os.environ.update(ACCESS)  # this process talks to nothing but its own server
    client = kinesis_client(STREAM, "us-east-1", endpoint, 2)
    client.create_stream(StreamName=STREAM, ShardCount=2)
    events = list(samples.numbered(PLAIN + AGGREGATED))
    documented = [examples.load(name) for name in examples.names()]
    repeats = events[:5]
    data = [
        *events[:PLAIN],
        *samples.records(events[PLAIN:], PER_RECORD),
        *documented,
        *repeats,
        *BROKEN,
    ]
    sent = sum(samples.put(client, STREAM, data))
    client.close()
    kinds = [json.loads(event)["type"].startswith("com.twilio.voice.api-request.") for event in documented]
    expected = {"rows": len(events) + sum(kinds), "dead letters": len(BROKEN)}
    console.print(
        f"[bold]1.[/] An embedded Kinesis at {endpoint} with a stream of 2 shards; {sent} records are put on it:\n"
        f"   {PLAIN} plain events, {AGGREGATED} in aggregates of {PER_RECORD}, {sum(kinds)} documented or live-like"
        f" ones,\n   {len(kinds) - sum(kinds)} of other types (a sink test among them), {len(repeats)} repeats,"
        f" {len(BROKEN)} broken ones."
    )
    return expected


def _run_worker(endpoint: str, directory: Path) -> int:
    arguments = [
        "run",
        STREAM,
        "--endpoint-url",
        endpoint,
        "--sink",
        "sqlite:rows.db",
        "--dead-letters",
        "sqlite:rows.db",
    ]
    command = [sys.executable, "-m", "consumer", *arguments, "--until-caught-up", "--log-level", "warning"]
    print(f"   call-consumer {' '.join(arguments)} --until-caught-up", flush=True)
    # A group of its own: Ctrl-C reaches the demo alone, which then ends the worker once, in order.
    with (
        signals() as told,
        subprocess.Popen(command, cwd=directory, env={**os.environ, **ACCESS}, process_group=0) as worker,
    ):
        while worker.poll() is None and told.first is None:
            told.wait(0.1)
        if told.first is not None:
            _end(worker)
            raise typer.Exit(128 + told.first)
    return worker.returncode


def _end(worker: "subprocess.Popen[bytes]") -> None:
    """Take the worker along."""
    worker.terminate()
    try:
        worker.wait(WORKER_ENDS)
    except subprocess.TimeoutExpired:
        worker.kill()


def _show(console: Console, directory: Path) -> dict[str, int]:
    database = sqlite3.connect(directory / "rows.db")
    found = {
        "rows": database.execute("SELECT count(*) FROM call_requests").fetchone()[0],
        "dead letters": database.execute("SELECT count(*) FROM dead_letters").fetchone()[0],
    }
    console.print(f"[bold]3.[/] {found['rows']} rows and {found['dead letters']} dead letters in {directory}/rows.db:")
    for query in (
        "SELECT resource, action, to_address, response_status, resource_status, error_code FROM call_requests"
        " GROUP BY action, response_status ORDER BY action",
        "SELECT reason, message, shard_id, sequence_number FROM dead_letters ORDER BY reason",
    ):
        rows = database.execute(query)
        table = Table(*[column[0] for column in rows.description])
        for row in rows:
            table.add_row(*["" if value is None else str(value) for value in row])
        console.print(table)
    database.close()
    return found
