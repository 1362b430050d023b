"""Run a storm over a fleet: draw faults from a seed, end them, and check all guarantees.

The seed determines faults and their times, but not how processes are scheduled. So a failed seed is a scenario to run
again, not a recording.
"""

import heapq
import itertools
import random
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.chaos.fleet import Fleet, Services, Worker, run_command
from tests.chaos.gaps import History, Trouble
from tests.chaos.publisher import Publisher, Resharder
from tests.chaos.report import Report
from tests.chaos.sinks import JsonlRows, Rows, SqliteRows, dead_letters
from tests.chaos.witness import Witness, check_rows
from tests.integration.workers import STREAM, active, environment, kinesis_client
from tests.servers.faulty_proxy import Fault, FaultyProxy

WORKERS = 3
MOST_WORKERS = 5
SHARDS = 3
LEASE = 3.0
PACE = ["--lease-duration", str(LEASE), "--batch-age", "0.5", "--batch-rows", "40", "--poll-interval", "0.3"]
# the two that leave it unknown whether a write happened come more often
TABLE_FAULTS = [*Fault, Fault.LOST, Fault.LATE]
STREAM_FAULTS = [Fault.REFUSE, Fault.HANG, Fault.SLOW, Fault.LOST, Fault.THROTTLE]
# Seconds until the shards of a killed worker are read again: the lease, two probes, a take and the first batch.
FAILOVER = 1.2 * LEASE + 1.5
QUIET = 60.0  # seconds in which the fleet must deliver all records after the last fault
WEIGHTS = {"kill": 3, "freeze": 3, "terminate": 3, "join": 1, "split": 2, "merge": 2, "table": 5, "stream": 2}


class Storm:
    """One storm over a separate stream."""

    def __init__(
        self, seed: int, seconds: float, directory: Path, services: Services, sink: str, say: Callable[[str], None]
    ) -> None:
        self._rng = random.Random(seed)
        self._report = Report(seed, sink, seconds)
        self._directory, self._services, self._say = directory, services, say
        self._rows: Rows = SqliteRows(directory) if sink == "sqlite" else JsonlRows(directory)
        self._arguments = [*PACE, "--sink", self._rows.url, "--dead-letters", f"sqlite:{directory / 'letters.db'}"]
        self._fleet = Fleet(directory, services, self._arguments, self._rng)
        self._kinesis = kinesis_client(services.kinesis)
        self._resharder = Resharder(self._kinesis, self._rng)
        self._publisher = Publisher(self._kinesis, random.Random(self._rng.random()))
        self._history = History()
        self._witness = Witness(services.dynamodb, self._rows, self._history)
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._tie = itertools.count()
        self._began = time.monotonic()

    def run(self) -> Report:
        """Run the storm, the calm, and a last run. Return what happened and which checks failed."""
        self._kinesis.create_stream(StreamName=STREAM, ShardCount=SHARDS)
        active(self._kinesis)
        for _ in range(WORKERS):
            self._fleet.start()
        self._witness.start()
        try:
            self._settle()
            self._publisher.start()
            self._storm()
            self._quiet()
        finally:
            self._fleet.stop()
            self._witness.stop()
        self._last_run()
        self._judge()
        self._kinesis.delete_stream(StreamName=STREAM, EnforceConsumerDeletion=True)
        self._kinesis.close()
        return self._report

    def _settle(self) -> None:
        """Wait until all workers read, because killing a starting worker tests nothing."""
        give_up = time.monotonic() + QUIET
        while len({lease.owner for lease in self._witness.leases} - {None}) < WORKERS and time.monotonic() < give_up:
            time.sleep(0.2)

    # Storm -----------------------------------------------------------------------------------------------------------

    def _storm(self) -> None:
        self._began = time.monotonic()
        ends = self._began + self._report.seconds
        self._at(self._rng.uniform(2, 4), self._next)
        while (now := time.monotonic()) < ends:
            while self._agenda and self._agenda[0][0] <= now:
                heapq.heappop(self._agenda)[2]()
            time.sleep(0.02)

    def _at(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (time.monotonic() + seconds, next(self._tie), action))

    def _next(self) -> None:
        if not self._fleet.busy:  # as a supervisor would: a worker ends if the table is unavailable at its start
            self._fleet.start()
        [kind] = self._rng.choices(list(WEIGHTS), list(WEIGHTS.values()))
        getattr(self, f"_{kind}")()
        self._at(self._rng.uniform(0.3, 3.0), self._next)

    def _did(self, what: str, detail: str) -> None:
        self._report.done[what] += 1
        self._say(f"{time.monotonic() - self._began:6.1f} s  {what} {detail}")

    def _victim(self) -> Worker | None:
        return self._rng.choice(busy) if (busy := self._fleet.busy) else None

    def _kill(self) -> None:
        if (worker := self._victim()) is not None:
            worker.send(signal.SIGKILL)
            self._did("kill", worker.name)
            self._history.suffered("kill", [worker.name], lasts=FAILOVER)
            self._replace(worker)

    def _terminate(self) -> None:
        if (worker := self._victim()) is not None:
            worker.send(signal.SIGTERM)
            self._did("terminate", worker.name)
            self._replace(worker)

    def _replace(self, gone: Worker) -> None:
        """Start another worker, sometimes with the name of a dead one."""
        same = self._rng.random() < 0.3

        def start() -> None:
            if same and gone.alive:
                self._at(0.5, start)
            elif len(self._fleet.busy) < WORKERS:
                self._fleet.start(gone.name if same else None)

        self._at(self._rng.uniform(0, 3), start)

    def _join(self) -> None:
        if len(self._fleet.busy) < MOST_WORKERS:
            self._did("join", self._fleet.start().name)

    def _freeze(self) -> None:
        if (worker := self._victim()) is None or worker.frozen:
            return
        seconds = self._rng.uniform(0.5, 2.5 * LEASE)
        worker.send(signal.SIGSTOP)
        self._did("freeze", f"{worker.name} for {seconds:.1f} s")
        frozen = self._history.suffered("freeze", [worker.name], lasts=seconds)
        self._at(seconds, lambda: self._thaw(worker, frozen))

    def _thaw(self, worker: Worker, frozen: Trouble) -> None:
        frozen.ended = time.time()
        if worker.frozen and worker.alive:
            worker.send(signal.SIGCONT)

    def _split(self) -> None:
        if (shard := self._resharder.split()) is not None:
            self._did("split", shard)

    def _merge(self) -> None:
        if (shards := self._resharder.merge()) is not None:
            self._did("merge", shards)

    def _table(self) -> None:
        self._trouble("table", TABLE_FAULTS, {worker.name: worker.table for worker in self._fleet.busy})

    def _stream(self) -> None:
        self._trouble("stream", STREAM_FAULTS, {worker.name: worker.stream for worker in self._fleet.busy})

    def _trouble(self, what: str, faults: Sequence[Fault], proxies: dict[str, FaultyProxy]) -> None:
        """Start an outage for all workers or for one, of all requests or of some."""
        if not proxies:
            return
        fault = self._rng.choice(faults)
        hit = list(proxies) if self._rng.random() < 0.5 else [self._rng.choice(list(proxies))]
        share = self._rng.choice([1.0, 0.5, 0.2])
        seconds = self._rng.uniform(0.3, 2.5 * LEASE)
        for name in hit:
            proxies[name].suffer(fault, share)
        trouble = self._history.suffered(f"{what} {fault}", hit, everyone=len(hit) == len(proxies))

        def heal() -> None:
            trouble.ended = time.time()
            for name in hit:
                proxies[name].heal()

        self._did(f"{what} {fault}", f"{share:.0%} for {len(hit)} of {len(proxies)}, {seconds:.1f} s")
        self._at(seconds, heal)

    # Calm ------------------------------------------------------------------------------------------------------------

    def _quiet(self) -> None:
        """Check that the fleet delivers all records without faults, and that every open shard has an owner."""
        self._report.published = self._publisher.stop()
        self._fleet.heal()
        self._history.all_is_well()
        while len(self._fleet.busy) < WORKERS:
            self._fleet.start()
        calm = time.monotonic()
        while not self._all_there():
            if time.monotonic() - calm > QUIET:
                missing = set(range(self._report.published)) - {row.number for row in self._rows.rows()}
                unowned = self._unowned()
                self._report.broken.append(
                    f"{QUIET:.0f} s into the quiet {len(missing)} events are missing, {sorted(unowned)} have no owner"
                )
                return
            time.sleep(0.2)
        self._report.quiet = time.monotonic() - calm

    def _all_there(self) -> bool:
        return len({row.number for row in self._rows.rows()}) >= self._report.published and not self._unowned()

    def _unowned(self) -> set[str]:
        shards = {shard["ShardId"] for shard in self._resharder.open_shards()}
        return self._witness.unowned(shards, {worker.name for worker in self._fleet.busy})

    def _last_run(self) -> None:
        """Let one worker without proxies read to the end, and check that no record was left."""
        command = run_command(
            self._services.kinesis,
            self._services.dynamodb,
            *self._arguments,
            "--until-caught-up",
            "--worker-id",
            "last",
        )
        done = subprocess.run(
            command, cwd=self._directory, env=environment(), capture_output=True, text=True, timeout=90, check=False
        )
        if done.returncode != 0:
            self._report.broken.append(f"the last run ended with {done.returncode}: {done.stderr[-300:]}")

    # Checks ----------------------------------------------------------------------------------------------------------

    def _judge(self) -> None:
        report, rows = self._report, self._rows.rows()
        shards = self._kinesis.list_shards(StreamName=STREAM)["Shards"]
        parents = {
            shard["ShardId"]: [shard[name] for name in ("ParentShardId", "AdjacentParentShardId") if name in shard]
            for shard in shards
        }
        report.rows, report.gaps = len(rows), self._history.gaps(rows, parents)
        report.longest = self._history.longest(rows, parents)
        report.moves, report.samples = self._witness.moves, self._witness.samples
        report.done["faulty requests"] = sum(w.table.hurt + w.stream.hurt for w in self._fleet.workers)
        report.broken += check_rows(rows, report.published, parents)
        report.broken += self._witness.broken
        report.broken += self._fleet.complaints()
        if letters := dead_letters(self._directory / "letters.db"):
            report.broken.append(f"{letters} dead letters")
