"""Run worker processes, each behind separate proxies, and check how they end."""

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.workers import STREAM, environment
from tests.servers.faulty_proxy import FaultyProxy

LEASE_TABLE = "chaos"
MAY_EXIT = {0, 3, -signal.SIGKILL}  # 3: it was told to stop while the table was unavailable, and reported that


@dataclass
class Services:
    """The real addresses of the stream and the lease table."""

    kinesis: str
    dynamodb: str


@dataclass
class Worker:
    """One process. `leaving`: it was told to end. `in_calm`: it was told so while no fault was active."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path
    table: FaultyProxy
    stream: FaultyProxy
    frozen: bool = False
    leaving: bool = False
    in_calm: bool = False

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    @property
    def busy(self) -> bool:
        """Return whether it runs and was not told to end."""
        return self.alive and not self.leaving

    def send(self, number: signal.Signals) -> None:
        """Send it a signal. Continue a frozen process that must end."""
        self.frozen = number is signal.SIGSTOP
        self.leaving = self.leaving or number in (signal.SIGTERM, signal.SIGKILL)
        self.process.send_signal(number)
        if number is signal.SIGTERM:
            self.process.send_signal(signal.SIGCONT)

    def heal(self) -> None:
        self.table.heal()
        self.stream.heal()

    def events(self) -> Iterator[dict[str, object]]:
        """Return the JSON lines of its log."""
        for line in self.log.read_text(errors="replace").splitlines():
            if line.startswith("{"):
                try:
                    yield json.loads(line)
                except ValueError:
                    continue  # cut off by a kill


@dataclass
class Fleet:
    """All workers that ever ran."""

    directory: Path
    services: Services
    arguments: Sequence[str]
    rng: random.Random
    workers: list[Worker] = field(default_factory=list)

    def start(self, name: str | None = None) -> Worker:
        """Start a worker. `name` may be that of a dead one, as on hosts that keep their names."""
        number = len(self.workers)
        name = name or f"w{number}"
        table = FaultyProxy(self.services.dynamodb, random.Random(self.rng.random()))
        stream = FaultyProxy(self.services.kinesis, random.Random(self.rng.random()))
        command = run_command(stream.url, table.url, "--worker-id", name, *self.arguments)
        log = self.directory / f"{number:03}-{name}.log"
        with log.open("wb") as stderr, log.with_suffix(".out").open("wb") as stdout:
            process = subprocess.Popen(command, cwd=self.directory, env=environment(), stdout=stdout, stderr=stderr)
        worker = Worker(name, process, log, table, stream)
        self.workers.append(worker)
        return worker

    @property
    def busy(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.busy]

    def heal(self) -> None:
        """End all faults, and continue frozen processes."""
        for worker in self.workers:
            worker.heal()
            if worker.frozen and worker.alive:
                worker.send(signal.SIGCONT)

    def stop(self, patience: float = 40.0) -> None:
        """Tell all workers to end without faults. Kill those that do not."""
        for worker in self.workers:
            if worker.busy:
                worker.in_calm = True
                worker.send(signal.SIGTERM)
        give_up = time.monotonic() + patience
        for worker in self.workers:
            try:
                worker.process.wait(max(0.1, give_up - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            worker.table.close()
            worker.stream.close()

    def complaints(self) -> Iterator[str]:
        """Return failures that no fault explains: an unforeseen error, a traceback, an unexpected end."""
        for worker in self.workers:
            code = worker.process.returncode
            text = worker.log.read_text(errors="replace")
            if "Traceback" in text or "worker.failed" in text:
                yield f"{worker.log.name}: an unforeseen error"
            if code not in ({0} if worker.in_calm else MAY_EXIT) and not _before_it_began(code, text):
                yield f"{worker.log.name}: ended with {code}: {text.splitlines()[-1] if text else ''}"
            yield from (
                f"{worker.log.name}: {event['event']} {event.get('error')} {event.get('where')}"
                for event in worker.events()
                if event.get("event") in ("shard.halted", "shard.trimmed")
            )


def _before_it_began(code: int, text: str) -> bool:
    """Return whether a signal came before its handler, or an outage at its start."""
    return (code in (-signal.SIGTERM, 128 + signal.SIGTERM) and not text) or (code == 2 and "tried for" in text)


def run_command(kinesis: str, dynamodb: str, *arguments: str) -> list[str]:
    """Return the command line of a worker with a lease table in DynamoDB."""
    leases = f"dynamodb:{LEASE_TABLE}?endpoint_url={dynamodb}&region=us-east-1"
    run = [sys.executable, "-m", "consumer", "run", STREAM, "--endpoint-url", kinesis, "--leases", leases]
    return [*run, "--log-format", "json", *arguments]
