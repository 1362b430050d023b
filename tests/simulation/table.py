"""The lease table of one process in a simulated fleet, with faults, and the checks of every write."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from consumer.errors import LeaseTableUnavailable
from consumer.leases import Change, Lease, PartlyWritten, Token, Written
from consumer.leases.dynamodb.item import item_of
from tests import kcl_parser
from tests.simulation.world import Process

if TYPE_CHECKING:
    from tests.simulation.fleet import SimFleet


class SimTable:
    """The lease table port of one process. It fails sometimes, and checks every write."""

    def __init__(self, fleet: "SimFleet", process: Process) -> None:
        self._fleet, self._world, self._table = fleet, fleet.world, fleet.table
        self._process, self._faults = process, fleet.faults

    def check(self) -> None:
        pass

    def scan(self) -> Sequence[Lease]:
        self._fail_sometimes()
        return self._table.scan()

    def read(self, shard_ids: Collection[str]) -> Sequence[Lease]:
        self._fail_sometimes()
        return self._table.read(shard_ids)

    def unreadable(self) -> Mapping[str, str]:
        return {}

    def assignees(self) -> Collection[str]:
        return [kcl.name for kcl in self._fleet.kcls if kcl.three and kcl.process.alive]

    def create(self, lease: Lease) -> None:
        self._fail_sometimes()
        self._table.create(lease)

    def write(self, changes: Sequence[Change]) -> Sequence[Written]:
        """Make the changes one by one, while other workers run. Any result may be lost."""
        self._fail_sometimes()
        results: list[Written | None] = []
        for change in changes:
            [written] = self._carry_out(change)
            results.append(None if self._faults.happens("lost response") else written)
            self._world.spend(self._process, self._world.rng.uniform(0.001, 0.01))
        known = [result for result in results if result is not None]
        if len(known) == len(results):
            return known
        raise PartlyWritten(LeaseTableUnavailable("responses were lost"), results) if known else LeaseTableUnavailable()

    def _carry_out(self, change: Change) -> Sequence[Written]:
        before = {row.shard_id: row for row in self._table.scan()}.get(change.before.shard_id)
        written = self._table.write([change])
        if before is not None and written[0].done and written[0].row is not None:
            self._check(change, before, written[0].row)
        return written

    def want(self, lease: Lease, worker_id: str) -> None:
        self._fail_sometimes()
        self._table.want(lease, worker_id)

    def delete(self, lease: Lease) -> None:
        self._fail_sometimes()
        self._table.delete(lease)

    def close(self) -> None:
        pass

    def _fail_sometimes(self) -> None:
        slow = self._faults.happens("slow table")
        self._world.spend(
            self._process, self._world.rng.uniform(0.2, 1.0) if slow else self._world.rng.uniform(0.001, 0.02)
        )
        if self._faults.happens("table"):
            raise LeaseTableUnavailable

    def _check(self, change: Change, before: Lease, after: Lease) -> None:
        """Check a write against the row before it, not against what writer or table report."""
        shard_id, me = after.shard_id, (self._process.name, self._process.start)
        self._fleet.moved(before, after)
        try:
            kcl_parser.parse(item_of(after))
        except kcl_parser.KclThrows as error:
            self._world.violated(f"a KCL cannot read the row of {shard_id}: {error}")
        if (change.before.counter, change.before.token) != (before.counter, before.token):
            self._world.violated(f"unfenced: {me} wrote over a row of {shard_id} that it had not seen")
        if after.checkpoint < before.checkpoint:
            self._world.violated(f"the checkpoint of {shard_id} went back")
        if after.checkpoint != before.checkpoint and before.token != Token(*me, before.counter):
            self._world.violated(f"two owners: {me} moved the checkpoint of {shard_id}, held by {before.token}")
        if after.ended and not before.ended:
            self._fleet.finished.add(shard_id)
