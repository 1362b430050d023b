"""Sample the lease table and the sink during a storm, without proxies, and report failed checks."""

import threading
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from consumer.leases import Lease
from consumer.leases.dynamodb.item import lease_of
from consumer.records import Position
from tests.chaos.fleet import LEASE_TABLE
from tests.chaos.gaps import History
from tests.chaos.sinks import Rows, Seen
from tests.integration.workers import client
from tests.kcl_parser import KclThrows, parse

INTERVAL = 0.4


def dynamodb_client(endpoint: str) -> Any:
    """Return a client of the lease table's store without a proxy."""
    return client("dynamodb", endpoint)


class Witness:
    """A thread that samples until it is stopped."""

    def __init__(self, endpoint: str, rows: Rows, history: History | None = None, table: str = LEASE_TABLE) -> None:
        self._client, self._table, self._rows = dynamodb_client(endpoint), table, rows
        self._history = history or History()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._checkpoints: dict[str, Position] = {}
        self._owners: dict[str, str | None] = {}
        self.leases: list[Lease] = []
        self.moves: Counter[str] = Counter()
        self.broken: list[str] = []
        self.samples = 0
        self.error: Exception | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()
        self._client.close()
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            while not self._stopped.wait(INTERVAL):
                self.look()
        except Exception as error:
            self.error = error

    def look(self) -> None:
        """Sample the table and the sink once."""
        self._rows.poll()
        try:
            items = self._client.scan(TableName=self._table, ConsistentRead=True)["Items"]
        except self._client.exceptions.ResourceNotFoundException:
            return
        self.leases = [self._checked(item) for item in items]
        self.samples += 1

    def _checked(self, item: Any) -> Lease:
        try:
            parse(item)
        except KclThrows as error:
            self.broken.append(f"a KCL could not read {item}: {error}")
        lease = lease_of(item)
        self._history.saw(lease)
        before = self._checkpoints.get(lease.shard_id)
        if before is not None and lease.checkpoint < before:
            self.broken.append(f"{lease.shard_id}: the checkpoint went back from {before} to {lease.checkpoint}")
        self._checkpoints[lease.shard_id] = lease.checkpoint
        if self._owners.get(lease.shard_id, lease.owner) != lease.owner and lease.owner is not None:
            self.moves[lease.shard_id] += 1
        self._owners[lease.shard_id] = lease.owner
        return lease

    def unowned(self, open_shards: Collection[str], live: Collection[str]) -> set[str]:
        """Return the open shards without a live owner at the last sample."""
        held = {lease.shard_id for lease in self.leases if lease.owner in live and not lease.ended}
        return set(open_shards) - held


def check_rows(rows: Sequence[Seen], published: int, parents: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Check that each event is stored once, each shard in order, and no child before its parents."""
    counts = Counter(row.number for row in rows)
    if lost := sorted(set(range(published)) - counts.keys()):
        yield f"{len(lost)} events are lost, such as {lost[:5]}"
    if twice := sorted(number for number, count in counts.items() if count > 1):
        yield f"{len(twice)} events are there twice, such as {twice[:5]}"
    by_shard: dict[str, list[tuple[int, Seen]]] = defaultdict(list)
    for index, row in enumerate(rows):
        by_shard[row.shard].append((index, row))
    for shard, held in by_shard.items():
        places = [row.place for _, row in held]
        if places != sorted(places):
            yield f"{shard}: the order is not the stream's"
        for parent in parents.get(shard, ()):
            if parent in by_shard and by_shard[parent][-1][0] > held[0][0]:
                yield f"{shard}: it was read before its parent {parent} was finished"
