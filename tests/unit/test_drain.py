"""How a worker leaves: who follows hears of it before a shard is read no more."""

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
    """A worker of two shards, which remembers to whom it handed them."""

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
        """Whom the rows will name with the next renewals."""
        changes = [consumer.held_lease.begin_renewal() for consumer in self.running.values()]
        assert all(change.after.draining for change in changes)
        return {change.after.shard_id: change.after.wanted_by for change in changes}


def test_who_follows_is_named_at_once_and_gets_the_lease_when_they_have_heard() -> None:
    """Until then the shards are read on."""
    leaver = Leaver({ANNA: 0, BEN: 0})
    assert leaver.drain.announce(1.3, UNTIL) == 1.3
    assert leaver.promises() == {"a": "anna", "b": "ben"}
    assert leaver.drain.step(100.3) == 1.0
    assert leaver.handed == {}
    assert leaver.drain.step(101.3) is not None
    assert leaver.handed == {"a": ANNA, "b": BEN}


def test_who_has_left_meanwhile_gets_nothing() -> None:
    """Workers that are told to end together must not hand their leases to each other."""
    leaver = Leaver({ANNA: 0, BEN: 0})
    leaver.drain.announce(1.3, UNTIL)
    leaver.next_owners = {ANNA: 1}
    leaver.drain.step(102.0)
    assert leaver.handed == {"a": ANNA, "b": ANNA}


def test_whoever_wishes_for_a_lease_gets_it() -> None:
    """It looks for it already."""
    leaver = Leaver({ANNA: 0, BEN: 7}, wishes={"a": "ben"})
    leaver.drain.announce(1.3, UNTIL)
    assert leaver.promises() == {"a": "ben", "b": "anna"}


def test_where_nobody_of_ours_follows_nobody_is_waited_for() -> None:
    """A KCL hears no promises."""
    for next_owners, next_owner in (({}, None), ({KCL: 0}, KCL)):
        leaver = Leaver(next_owners)
        assert leaver.drain.announce(1.3, UNTIL) == 0.0
        assert set(leaver.promises().values()) == {None}
        leaver.drain.step(100.0)
        assert set(leaver.handed.values()) == {next_owner}


def test_a_shard_that_was_being_taken_is_handed_over_too() -> None:
    """The coordinator's step may have been under way."""
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
