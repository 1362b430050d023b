"""Drain a worker: the next owner is announced before a shard is no longer read."""

from types import SimpleNamespace
from typing import Any, cast

from consumer.fleet.drain import Drain
from consumer.fleet.running_shards import RunningShards
from consumer.leases import Lease, NextOwner, WorkerIdentity
from consumer.leases import lease as steps
from consumer.leases.memory import MemoryLeaseTable
from consumer.shard.held_lease import HeldLease

ME = WorkerIdentity("me", "1")
UNTIL = 123.0
ANNA, BEN, KCL = NextOwner("anna"), NextOwner("ben"), NextOwner("kcl", ours=False)


class Leaver:
    """A worker with two shards that records to which owners it handed them off."""

    def __init__(self, next_owners: dict[NextOwner, int], wishes: dict[str, str] | None = None) -> None:
        self.now, self.next_owners = 100.0, next_owners
        self.handed: dict[str, NextOwner | None] = {}
        self.running: Any = {}
        self.context = SimpleNamespace(clock=lambda: self.now)
        table = MemoryLeaseTable()
        for shard_id in ("a", "b"):
            row = steps.taken(Lease(shard_id), ME)
            table.create(row)
            if wish := (wishes or {}).get(shard_id):
                table.want(row, wish)
            [row] = table.read([shard_id])
            held_lease = HeldLease(table, row, ME, 10.0, self.context.clock).began(self.now)
            self.running[shard_id] = SimpleNamespace(held_lease=held_lease, over=False, shard_id=shard_id)
        self.drain = Drain(cast(RunningShards, self), lambda: self.next_owners)

    def hand_off(self, consumer: Any, next_owner: NextOwner | None, until: float) -> None:
        assert until == UNTIL
        self.handed[consumer.shard_id] = next_owner

    def promises(self) -> dict[str, str | None]:
        """Return the owners that the rows will name with the next renewals."""
        changes = [consumer.held_lease.begin_renewal() for consumer in self.running.values()]
        assert all(change.after.draining for change in changes)
        return {change.after.shard_id: change.after.wanted_by for change in changes}


def test_the_next_owner_is_announced_and_gets_the_lease_later() -> None:
    """The shards are read until then."""
    leaver = Leaver({ANNA: 0, BEN: 0})
    assert leaver.drain.announce(1.3, UNTIL) == 1.3
    assert leaver.promises() == {"a": "anna", "b": "ben"}
    assert leaver.drain.step(100.3) == 1.0
    assert leaver.handed == {}
    assert leaver.drain.step(101.3) is not None
    assert leaver.handed == {"a": ANNA, "b": BEN}


def test_a_peer_that_left_meanwhile_gets_no_lease() -> None:
    """Workers that end together must not hand off leases to each other."""
    leaver = Leaver({ANNA: 0, BEN: 0})
    leaver.drain.announce(1.3, UNTIL)
    leaver.next_owners = {ANNA: 1}
    leaver.drain.step(102.0)
    assert leaver.handed == {"a": ANNA, "b": ANNA}


def test_a_peer_that_requested_the_lease_gets_it() -> None:
    """It already watches the lease."""
    leaver = Leaver({ANNA: 0, BEN: 7}, wishes={"a": "ben"})
    leaver.drain.announce(1.3, UNTIL)
    assert leaver.promises() == {"a": "ben", "b": "anna"}


def test_without_a_peer_of_ours_the_drain_does_not_wait() -> None:
    """A KCL worker ignores announcements."""
    for next_owners, next_owner in (({}, None), ({KCL: 0}, KCL)):
        leaver = Leaver(next_owners)
        assert leaver.drain.announce(1.3, UNTIL) == 0.0
        assert set(leaver.promises().values()) == {None}
        leaver.drain.step(100.0)
        assert set(leaver.handed.values()) == {next_owner}


def test_a_shard_that_was_being_taken_is_handed_off_too() -> None:
    """The step of the coordinator may have been under way."""
    leaver = Leaver({ANNA: 0})
    late = leaver.running.pop("b")
    leaver.drain.announce(0.0, UNTIL)
    leaver.drain.step(100.0)
    leaver.running = {"a": leaver.running["a"], "b": late}
    leaver.running["a"].over = True
    assert leaver.drain.step(100.5) is not None
    assert leaver.handed == {"a": ANNA, "b": ANNA}
    late.over = True
    assert leaver.drain.step(101.0) is None
