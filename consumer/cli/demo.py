"""`call-consumer demo`: run the whole job on an embedded Kinesis; nothing has to be set up."""

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
from rich.console import Console as RichConsole
from rich.table import Table

from consumer.cli import samples
from consumer.errors import ConfigurationError
from consumer.process import signals
from consumer.streams.kinesis import kinesis_client
from schemas import examples
from schemas.event_types import EVENT_TYPES

STREAM = "twilio-events"
WORKER_ENDS = 10.0  # seconds that the worker may take to stop after a signal
PLAIN, AGGREGATED, PER_RECORD = 40, 60, 20
# A fixed list: a new example must not change the numbers that README and docs show.
EXAMPLES = (
    "documented-call-created",
    "documented-call-modified",
    "live-like-call-created",
    "live-like-call-created-rejected",
    "live-like-call-modified",
    "live-like-participant-deleted",
    "other-product-event",
    "sink-test-event-object-data",
    "sink-test-event-string-data",
)
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
    Path | None, typer.Option(help="Where rows and dead letters go [default: a temporary directory].", metavar="DIR")
]
Keep = Annotated[bool, typer.Option("--keep", help="Leave the embedded Kinesis running until Ctrl-C.")]


class Console(RichConsole):
    """A console that reports a broken pipe like every other command."""

    def on_broken_pipe(self) -> None:
        """Raise it again; rich would exit with code 1."""
        raise BrokenPipeError


def command(directory: Directory = None, keep: Keep = False) -> None:
    """Run the whole job on an embedded Kinesis.

    Publish sample events, run the real worker until it has caught up, and show the rows and dead letters.
    """
    console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout and sys.stdout.isatty() else 120)
    directory = _folder(directory)
    console.print("Starting an embedded Kinesis …")
    with embedded_kinesis() as endpoint:
        _whole_job(console, endpoint, directory)
        if keep:
            _keep(console, endpoint)
            return
    console.print(
        "\nNext:\n"
        f"  sqlite3 {directory}/rows.db 'SELECT occurred_at, to_address, response_status FROM call_requests'\n"
        f"  {sys.argv[0]} doctor YOUR-STREAM\n"
        f"  {sys.argv[0]} run YOUR-STREAM --sink jsonl:rows\n  {sys.argv[0]} run --help"
    )


def _whole_job(console: Console, endpoint: str, directory: Path) -> None:
    """Publish, consume and compare.

    Raises:
        ConfigurationError: the worker failed, or the counts differ from what was published.
    """
    expected = _publish(console, endpoint)
    console.print("[bold]2.[/] The real worker reads until it has caught up, into SQLite:")
    code = _run_worker(endpoint, directory)
    if code != 0:
        raise ConfigurationError(f"the demo's worker exited with code {code}")
    found = _show(console, directory)
    if found != expected:
        raise ConfigurationError(f"the demo expected {expected} and found {found}")
    console.print("\n[bold green]All there:[/] every event is a row, a skip or a dead letter.")


def _keep(console: Console, endpoint: str) -> None:
    """Print how a second shell reaches the stream, and wait for a signal."""
    with signals() as received:
        console.print("\nThe embedded Kinesis keeps running until Ctrl-C. In a second shell:")
        for name, value in {**ACCESS, "AWS_ENDPOINT_URL": endpoint}.items():
            print(f"  export {name}={value}")
        print(f"  {sys.argv[0]} publish {STREAM}")
        print(f"  {sys.argv[0]} run {STREAM} --leases memory:", flush=True)
        while received.first is None:
            received.wait(60.0)


def _folder(named: Path | None) -> Path:
    """Return a writable directory: the one that was named, or a temporary one.

    Raises:
        ConfigurationError: it is not writable.
    """
    try:
        directory = named or Path(tempfile.mkdtemp(prefix="call-consumer-demo-"))
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            return directory
    except OSError as error:
        where = f"--directory {named}" if named else "the temporary directory"
        raise ConfigurationError(f"{where}: {error.strerror or error}; pass a writable one: --directory DIR") from None


@contextmanager
def embedded_kinesis() -> Iterator[str]:
    """Run moto's server in a thread, and yield its URL.

    Raises:
        ConfigurationError: moto is not installed.
    """
    try:
        from moto.server import ThreadedMotoServer
    except ImportError:
        raise ConfigurationError(
            "the demo needs moto: pip install '.[demo]' in a checkout, or pip install 'call-request-consumer[demo]'"
        ) from None
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # else it logs a line per request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def _publish(console: Console, endpoint: str) -> dict[str, int]:
    """Put the samples on a new stream; return how many rows and dead letters they make."""
    os.environ.update(ACCESS)  # this process only calls its own server
    client = kinesis_client(STREAM, "us-east-1", endpoint, 2)
    client.create_stream(StreamName=STREAM, ShardCount=2)
    events = list(samples.numbered(PLAIN + AGGREGATED))
    documented = [examples.load(name) for name in EXAMPLES]
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
    kinds = [json.loads(event)["type"] in EVENT_TYPES for event in documented]
    expected = {"rows": len(events) + sum(kinds), "dead letters": len(BROKEN)}
    console.print(
        f"[bold]1.[/] An embedded Kinesis at {endpoint} with a stream of 2 shards; {sent} records put on it:\n"
        f"   {PLAIN} plain events, {AGGREGATED} in aggregates of {PER_RECORD}, {sum(kinds)} documented or live-like"
        f" events,\n   {len(kinds) - sum(kinds)} of other types (a sink test among them), {len(repeats)} repeats,"
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
    # In its own process group: Ctrl-C reaches only the demo, which then stops the worker once.
    with (
        signals() as received,
        subprocess.Popen(command, cwd=directory, env={**os.environ, **ACCESS}, process_group=0) as worker,
    ):
        while worker.poll() is None and received.first is None:
            received.wait(0.1)
        if received.first is not None:
            _end(worker)
            raise typer.Exit(128 + received.first)
    return worker.returncode


def _end(worker: "subprocess.Popen[bytes]") -> None:
    """Stop the worker; kill it if that takes too long."""
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
