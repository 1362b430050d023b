"""Hold one lease: check its deadline, its writes and their responses."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from consumer.errors import LeaseLost, LeaseStale, LeaseTableUnavailable
from consumer.leases import Change, Lease, NextOwner, Pending, Token, WorkerIdentity, Written
from consumer.leases import lease as steps
from consumer.leases.memory import MemoryLeaseTable
from consumer.records import SHARD_END, Position
from consumer.shard.held_lease import STALE, HeldLease
from tests.unit.clocks import FakeClock

ME, SECOND_LIFE, PEER = WorkerIdentity("me", "1"), WorkerIdentity("me", "2"), WorkerIdentity("peer", "1")
DURATION = 10.0
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class SlowTable(MemoryLeaseTable):
    """A table whose writes take time. It may lose a response, or let another worker write first."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self.clock = clock
        self.takes, self.loses_answers = 0.0, 0
        self.before: Callable[[], object] = lambda: None

    def write(self, changes: Sequence[Change]) -> Sequence[Written]:
        self.before()
        written = super().write(changes)
        self.clock.advance(self.takes)
        if self.loses_answers:
            self.loses_answers -= 1
            raise LeaseTableUnavailable
        return written


class Bench:
    """A held lease that has just begun."""

    def __init__(self, **fields: object) -> None:
        self.clock = FakeClock()
        self.table = SlowTable(self.clock)
        row = steps.taken(Lease("shard", **fields), ME)  # type: ignore[arg-type]
        self.table.create(row)
        self.held_lease = HeldLease(self.table, row, ME, DURATION, self.clock).began(self.clock())

    @property
    def row(self) -> Lease:
        [row] = self.table.scan()
        return row

    def left(self) -> float:
        """Return the seconds for which deliveries are still allowed."""
        passed = 0.0
        while True:
            try:
                self.held_lease.ensure_held()
            except LeaseStale:
                return passed
            self.clock.advance(0.25)
            passed += 0.25

    def renew(self, arrives: bool = True) -> bool:
        """Renew once, as the renewal task does."""
        change = self.held_lease.begin_renewal()
        assert change is not None
        sent = self.clock()
        [written] = self.table.write([change])
        return self.held_lease.end_renewal(written if arrives else None, sent)

    def overwrite(self, after: Callable[[Lease], Lease]) -> None:
        self.table._rows["shard"] = after(self.row)


# Every successful write extends the lease from before it was sent.
WRITES: dict[str, Callable[[Bench], object]] = {
    "renewal": lambda bench: bench.renew(),
    "checkpoint": lambda bench: bench.held_lease.checkpoint(Position.of(5)),
    "prepare": lambda bench: bench.held_lease.prepare(Pending(Position.of(5), "name")),
}


def test_a_lease_lasts_from_before_its_take_was_sent() -> None:
    """The response to the take arrives later."""
    assert Bench().left() == DURATION
    bench = Bench()
    bench.held_lease.began(bench.clock() - 4.0)
    assert bench.left() == DURATION - 4.0


@pytest.mark.parametrize("name", WRITES)
def test_a_deadline_counts_from_before_the_write_was_sent(name: str) -> None:
    """For peers the counter may have changed at any time since, so no later deadline is safe."""
    bench = Bench()
    bench.clock.advance(5.0)
    bench.table.takes = 3.0
    WRITES[name](bench)
    assert bench.left() == DURATION - 3.0


@pytest.mark.parametrize("name", WRITES)
def test_a_repeated_write_counts_from_its_last_send(name: str) -> None:
    """The response to the first one was lost, and the row shows that it was written."""
    bench = Bench()
    bench.table.loses_answers = 1
    with pytest.raises(LeaseTableUnavailable):
        bench.held_lease.checkpoint(Position.of(4))
    bench.clock.advance(2.0)
    bench.table.takes = 1.0
    settled = WRITES[name](bench)
    if settled is False:  # the renewal task repeats renewals
        bench.renew()
    assert bench.left() == DURATION - 1.0
    assert bench.row == bench.held_lease.lease


def test_a_lost_response_does_not_extend_the_lease() -> None:
    """It is unknown whether the write happened."""
    bench = Bench()
    bench.clock.advance(4.0)
    bench.renew(arrives=False)
    assert bench.left() == DURATION - 4.0


def test_adopting_a_row_does_not_extend_the_lease() -> None:
    """It is unknown when that row was written. The next write extends the lease."""
    bench = Bench()
    bench.renew(arrives=False)
    bench.clock.advance(4.0)
    assert bench.renew() is False
    assert bench.left() == DURATION - 4.0


def test_after_the_deadline_only_a_renewal_may_write() -> None:
    """It restores the lease if no worker took it, and is repeated twice a second."""
    bench = Bench()
    bench.clock.advance(DURATION)
    with pytest.raises(LeaseStale) as stale:
        bench.held_lease.checkpoint(Position.of(5))
    assert stale.value.retry_after == STALE
    with pytest.raises(LeaseStale):
        bench.held_lease.prepare(Pending(Position.of(5), "name"))
    with pytest.raises(LeaseStale):
        bench.held_lease.hand_off(None)
    assert bench.row.counter == 1
    assert bench.renew()
    bench.held_lease.checkpoint(Position.of(5))
    assert bench.row.checkpoint == Position.of(5)


TAKEN_AWAY: dict[str, Callable[[Lease], Lease]] = {
    "by a peer": lambda row: steps.taken(row, PEER),
    "by another life of ours": lambda row: steps.taken(row, SECOND_LIFE),
    "by a KCL": lambda row: replace(row, owner="kcl", counter=row.counter + 1),
    "by a heartbeat of a KCL": lambda row: replace(row, counter=row.counter + 1),
    "by a release": lambda row: replace(row, owner=None, counter=row.counter + 1, token=None),
}


@pytest.mark.parametrize("how", TAKEN_AWAY)
@pytest.mark.parametrize("name", WRITES)
def test_a_row_that_another_worker_wrote_is_lost_and_unchanged(how: str, name: str) -> None:
    """This includes another process with the same id."""
    bench = Bench()
    bench.overwrite(TAKEN_AWAY[how])
    there = bench.row
    if name == "renewal":
        assert bench.renew() is True  # there is nothing to repeat
    else:
        with pytest.raises(LeaseLost):
            WRITES[name](bench)
    assert bench.row == there
    assert bench.held_lease.lost
    with pytest.raises(LeaseLost):
        bench.held_lease.ensure_held()
    assert bench.held_lease.begin_renewal() is None


def test_a_missing_row_is_a_lost_lease() -> None:
    """An operator removed it."""
    bench = Bench()
    bench.table._rows.clear()
    with pytest.raises(LeaseLost):
        bench.held_lease.checkpoint(Position.of(5))


def test_a_write_with_a_lost_response_is_adopted_and_repeated() -> None:
    """The row shows our token with a higher counter."""
    bench = Bench()
    bench.table.loses_answers = 1
    with pytest.raises(LeaseTableUnavailable):
        bench.held_lease.checkpoint(Position.of(5))
    assert bench.row.checkpoint == Position.of(5)
    bench.held_lease.checkpoint(Position.of(9))
    assert bench.row.checkpoint == Position.of(9)
    assert bench.row.counter == 3


def test_a_move_by_the_leader_of_a_kcl_does_not_end_the_lease_at_once() -> None:
    """The old owner continues until its checkpoint, then the new one owns the lease."""
    bench = Bench()
    bench.overwrite(lambda row: replace(row, owner="kcl", checkpoint_owner="me"))
    bench.held_lease.checkpoint(Position.of(5))
    assert (bench.row.checkpoint, bench.row.owner, bench.row.checkpoint_owner) == (Position.of(5), "kcl", "me")
    bench.held_lease.hand_off(bench.held_lease.lease.next_owner)
    assert (bench.row.owner, bench.row.checkpoint_owner, bench.row.token) == ("kcl", None, None)


def test_only_one_write_is_in_flight() -> None:
    """A checkpoint waits for a renewal and is repeated at once. A renewal is skipped during a checkpoint."""
    bench = Bench()
    change = bench.held_lease.begin_renewal()
    assert change is not None
    with pytest.raises(LeaseTableUnavailable) as busy:
        bench.held_lease.checkpoint(Position.of(5))
    assert busy.value.retry_after is not None
    bench.held_lease.end_renewal(None, bench.clock())
    seen: list[object] = []
    bench.table.before = lambda: seen.append(bench.held_lease.begin_renewal())
    bench.held_lease.checkpoint(Position.of(5))
    assert seen == [None]


def test_a_renewal_with_a_lost_response_allows_other_writes() -> None:
    """Otherwise nothing would be delivered."""
    bench = Bench()
    bench.renew(arrives=False)
    bench.held_lease.checkpoint(Position.of(5))
    assert bench.row.checkpoint == Position.of(5)


def test_a_renewal_writes_read_to_and_the_throughput() -> None:
    """`read_to` never decreases, and a checkpoint writes it, too."""
    bench = Bench(read_to=NOON)
    bench.held_lease.read_to = NOON - timedelta(hours=1)
    bench.held_lease.throughput.add(1_000_000)
    bench.clock.advance(1.0)
    bench.renew()
    assert bench.row.read_to == NOON
    assert bench.row.throughput == pytest.approx(500.0, abs=0.01)
    bench.held_lease.read_to = NOON + timedelta(hours=1)
    bench.held_lease.checkpoint(Position.of(5))
    assert bench.row.read_to == NOON + timedelta(hours=1)


def test_each_write_while_draining_says_so() -> None:
    """It names the next owner if that is one of our workers, but never a KCL worker."""
    bench = Bench()
    bench.held_lease.announce_drain(NextOwner("peer"))
    bench.renew()
    assert (bench.row.draining, bench.row.wanted_by) == (True, "peer")
    bench.held_lease.checkpoint(Position.of(5))
    assert (bench.row.draining, bench.row.wanted_by) == (True, "peer")
    other = Bench()
    other.held_lease.announce_drain(NextOwner("kcl", ours=False))
    other.renew()
    assert (other.row.draining, other.row.wanted_by) == (True, None)


def test_the_end_of_a_shard_names_its_children_and_no_next_owner() -> None:
    """There is nothing to hand off."""
    bench = Bench()
    bench.held_lease.announce_drain(NextOwner("peer"))
    bench.held_lease.checkpoint(SHARD_END, ("child",))
    assert (bench.row.draining, bench.row.wanted_by, bench.row.children) == (False, None, ("child",))


def test_a_handoff_ends_the_lease() -> None:
    """It is an offer with our token, and nothing may be delivered after it."""
    bench = Bench()
    bench.held_lease.hand_off(NextOwner("peer"))
    assert (bench.row.owner, bench.row.token) == ("peer", Token("me", "1", 2))
    assert bench.row.offered
    with pytest.raises(LeaseLost):
        bench.held_lease.ensure_held()
