"""Let each dependency of one worker fail and recover, one after the other."""

import fcntl
import json
import os
import random
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.integration.workers import (
    CREDENTIALS,
    STREAM,
    WITHOUT_COMPILED_FILES,
    active,
    environment,
    expected,
    gone,
    ids,
    kinesis_client,
    put,
    wait_until,
    worker,
)
from tests.servers.credentials import CredentialsEndpoint
from tests.servers.faulty_proxy import Fault, FaultyProxy

SHARDS = 8
GOOD_FOR = 24.0  # seconds for which credentials are valid; their renewal starts after half of that
HOLD = 4.0  # seconds for which the disk, the table and the stream fail
LEASE = 12.0  # one renewal every 4 s
PATIENCE = 90.0


class Publisher:
    """Put events on the stream until it is closed. `count` is their number so far."""

    def __init__(self, endpoint: str) -> None:
        self.count = 0
        self._client = kinesis_client(endpoint)
        self._client.create_stream(StreamName=STREAM, ShardCount=SHARDS)
        active(self._client)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.wait(0.2):
            put(self._client, range(self.count, self.count + 8))
            self.count += 8

    def close(self) -> None:
        self._over.set()
        self._thread.join(10)

    def delete_stream(self) -> None:
        self._client.delete_stream(StreamName=STREAM, EnforceConsumerDeletion=True)
        gone(self._client)
        self._client.close()


class Day:
    """The worker and its dependencies. `lines` are the lines of its stderr that were read."""

    def __init__(self, directory: Path, kinesis: str, dynamodb: str) -> None:
        rng = random.Random(1)
        self.directory = directory
        self.stream, self.table = FaultyProxy(kinesis, rng), FaultyProxy(dynamodb, rng)
        self.endpoint, self.publisher = CredentialsEndpoint(GOOD_FOR), Publisher(kinesis)
        self.lines: list[dict[str, Any]] = []
        self._reading, writing = os.pipe()
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
        fixed = set(CREDENTIALS) - {"AWS_DEFAULT_REGION", "AWS_EC2_METADATA_DISABLED"}
        env = {name: value for name, value in environment().items() if name not in fixed} | WITHOUT_COMPILED_FILES
        arguments = ["--sink", "jsonl:rows", "--dead-letters", "jsonl:letters", "--lease-duration", str(LEASE)]
        arguments += ["--leases", f"dynamodb:day?endpoint_url={self.table.url}", "--batch-age", "0.3"]
        self.process = subprocess.Popen(
            worker(directory, self.stream.url, *arguments, "--log-level", "debug"),
            cwd=directory,
            env=env | {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{self.endpoint.url}/credentials"},
            stdout=subprocess.DEVNULL,
            stderr=writing,
        )
        os.close(writing)
        self._reader = threading.Thread(target=self._read, daemon=True)

    def read_stderr(self) -> None:
        """Start to read stderr."""
        self._reader.start()

    def _read(self) -> None:
        with open(self._reading, "rb") as pipe:
            for line in pipe:
                self.lines.append(json.loads(line))

    @property
    def told(self) -> list[str]:
        """Return the log events that start or end a failure."""
        of_note = [
            line for line in self.lines if line["level"] not in ("debug", "info") or line["event"].endswith(".resumed")
        ]
        return [line["event"] for line in of_note]

    def goes_on(self) -> None:
        """Check that rows put from now on arrive."""
        before = self.publisher.count
        wait_until(lambda: len(ids(self.directory / "rows")) > before + 8 * SHARDS, PATIENCE)

    def trouble(self, begin: Callable[[], object], end: Callable[[], object], hold: float = HOLD) -> list[str]:
        """Let a dependency fail for `hold` seconds and until it is logged, then recover. Return the log events."""
        before = len(self.told)
        begin()
        try:
            time.sleep(hold)
            wait_until(lambda: len(self.told) > before, PATIENCE)
        finally:
            end()
        wait_until(lambda: any(event.endswith(".resumed") for event in self.told[before:]), PATIENCE)
        self.goes_on()
        return self.told[before:]

    def may_write(self, most: int) -> None:
        """Limit the files of the worker to `most` bytes, as a full disk or a quota does."""
        _, hard = resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (most, hard))

    def end(self) -> int:
        """Stop publishing, wait for the last row, and tell the worker to end."""
        self.publisher.close()
        wait_until(lambda: len(ids(self.directory / "rows")) >= self.publisher.count, PATIENCE)
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(30)
        self._reader.join(10)
        return code

    def close(self) -> None:
        self.publisher.close()
        self.process.kill()
        self.process.wait()
        self.publisher.delete_stream()
        self.endpoint.healthy.set()
        self.endpoint.stop()
        self.stream.close()
        self.table.close()


def test_each_failure_of_a_day_is_logged_once_and_loses_no_row(
    tmp_path: Path, kinesis_local_server: str, moto_server: str
) -> None:
    """Failures are an unread stderr, hanging credentials, a full disk, a throttled table and a missing stream."""
    with closing(Day(tmp_path, kinesis_local_server, moto_server)) as day:
        day.goes_on()
        time.sleep(HOLD)  # by now its log has filled the pipe
        day.goes_on()
        day.read_stderr()
        wait_until(lambda: len(day.lines) > 50)
        assert day.told == [], day.lines
        unlimited = resource.prlimit(day.process.pid, resource.RLIMIT_FSIZE)[0]
        endpoint = day.endpoint.healthy
        assert day.trouble(endpoint.clear, endpoint.set) == ["credentials.not_renewed", "credentials.resumed"]
        full = day.trouble(lambda: day.may_write(0), lambda: day.may_write(unlimited))
        assert full == ["shard.waiting", "shard.resumed"]
        known = day.told
        for proxy, fault in ((day.table, Fault.THROTTLE), (day.stream, Fault.REFUSE)):
            told = day.trouble(lambda proxy=proxy, fault=fault: proxy.suffer(fault), proxy.heal)  # type: ignore[misc]
            began = [event.partition(".")[0] for event in told if not event.endswith(".resumed")]
            ended = [event.partition(".")[0] for event in told if event.endswith(".resumed")]
            assert sorted(began) == sorted(ended)
            assert len(began) <= 2, day.lines  # a request that is under way may fail in another way than the next ones
            known += told
        assert day.end() == 0
        assert sorted(ids(tmp_path / "rows")) == expected(day.publisher.count)
        assert day.told == known
        assert day.lines[-1]["exit_code"] == 0
