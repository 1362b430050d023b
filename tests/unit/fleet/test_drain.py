"""Test that the next owners are announced before a shard is no longer read."""

from collections.abc import Mapping

from consumer.fleet.drain import Drain
from consumer.fleet.initial_position import InitialPosition
from consumer.fleet.running_shards import Fleet, RunningShards
from consumer.leases import Lease, NextOwner, WorkerIdentity
from consumer.leases import lease as steps
from consumer.leases.memory import MemoryLeaseTable
from consumer.shard.consumer import ShardConsumer
from tests.unit.clocks import FakeClock
from tests.unit.fakes import shard_context
from tests.unit.worlds import Unscheduled

ME = WorkerIdentity("me", "1")
UNTIL = 123.0
ANNA, BEN, KCL = NextOwner("anna"), NextOwner("ben"), NextOwner("kcl", ours=False)


class DrainingShards(RunningShards):
    """Two shards of a draining worker. `handed_off`: to which worker each was handed off."""

    def __init__(self, next_owners: dict[NextOwner, int], requests: Mapping[str, str] | None = None) -> None:
        self.next_owners = next_owners
        self.handed_off: dict[str, NextOwner | None] = {}
        clock, table = FakeClock(100.0), MemoryLeaseTable()
        super().__init__(Fleet(ME), table, shard_context(clock), InitialPosition(), Unscheduled())
        for shard_id in ("a", "b"):
            row = steps.taken(Lease(shard_id), ME)
            table.create(row)
            if worker_id := (requests or {}).get(shard_id):
                table.want(row, worker_id)
            [row] = table.read([shard_id])
            self.read(row, clock())
        self.drain = Drain(self, lambda: self.next_owners)

    def hand_off(self, consumer: ShardConsumer, next_owner: NextOwner | None, until: float | None = None) -> None:
        assert until == UNTIL
        self.handed_off[consumer.shard_id] = next_owner

    def announced(self) -> dict[str, str | None]:
        """Return the next owner that the next renewal of each row will name."""
        changes = [consumer.held_lease.begin_renewal() for consumer in self.running.values()]
        rows = [change.after for change in changes if change is not None]
        assert all(row.draining for row in rows)
        return {row.shard_id: row.wanted_by for row in rows}


def test_next_owners_are_announced_at_once_and_get_the_leases_after_the_notice() -> None:
    """The shards are read until then."""
    shards = DrainingShards({ANNA: 0, BEN: 0})
    assert shards.drain.announce(1.3, UNTIL) == 1.3
    assert shards.announced() == {"a": "anna", "b": "ben"}
    assert shards.drain.step(100.3) == 1.0
    assert shards.handed_off == {}
    assert shards.drain.step(101.3) is not None
    assert shards.handed_off == {"a": ANNA, "b": BEN}


def test_a_next_owner_that_has_left_meanwhile_gets_no_lease() -> None:
    """Workers that are told to end together must not hand their leases to each other."""
    shards = DrainingShards({ANNA: 0, BEN: 0})
    shards.drain.announce(1.3, UNTIL)
    shards.next_owners = {ANNA: 1}
    shards.drain.step(102.0)
    assert shards.handed_off == {"a": ANNA, "b": ANNA}


def test_a_worker_that_has_requested_a_lease_gets_it() -> None:
    """It reads the row often already, even if other workers have fewer leases."""
    shards = DrainingShards({ANNA: 0, BEN: 7}, requests={"a": "ben"})
    shards.drain.announce(1.3, UNTIL)
    assert shards.announced() == {"a": "ben", "b": "anna"}


def test_without_a_next_owner_of_this_program_reading_stops_at_once() -> None:
    """A KCL does not see the announcement."""
    for next_owners, next_owner in (({}, None), ({KCL: 0}, KCL)):
        shards = DrainingShards(next_owners)
        assert shards.drain.announce(1.3, UNTIL) == 0.0
        assert set(shards.announced().values()) == {None}
        shards.drain.step(100.0)
        assert set(shards.handed_off.values()) == {next_owner}


def test_a_shard_whose_take_was_running_is_handed_off_too() -> None:
    """The balancer's step may be running when the drain starts."""
    shards = DrainingShards({ANNA: 0})
    late = shards.running.pop("b")
    shards.drain.announce(0.0, UNTIL)
    shards.drain.step(100.0)
    shards.running = {"a": shards.running["a"], "b": late}
    shards.running["a"].over = True
    assert shards.drain.step(100.5) is not None
    assert shards.handed_off == {"a": ANNA, "b": ANNA}
    late.over = True
    assert shards.drain.step(101.0) is None
