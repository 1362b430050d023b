"""Take part in the fleet: observe the lease table, act on what is seen, and receive leases that were requested."""

from random import Random

from consumer.errors import LeaseTableUnavailable
from consumer.fleet.assignment import View, plan
from consumer.fleet.caught_up import CaughtUp
from consumer.fleet.duplicate_worker import DuplicateWorker
from consumer.fleet.incoming import REFRESH_INTERVAL, IncomingOffers
from consumer.fleet.lease_taker import LeaseTaker
from consumer.fleet.liveness import Liveness
from consumer.fleet.running_shards import Fleet, RunningShards
from consumer.fleet.table_view import TableView
from consumer.leases import Lease, LeaseTable, NextOwner
from consumer.runtime.clock import Clock
from consumer.telemetry.metrics import Metrics
from consumer.telemetry.outages import Outages

# A new worker moves this many leases in its first step, and twice as many in each further step. So workers that start
# together get their share at once, instead of by a second move.
FIRST_MOVES = 4
MOST_DOUBLINGS = 16
# A decline is tried twice, because an owner that delivers changes its row all the time. The first try returns the row.
DECLINE_ATTEMPTS = 2


class Balancer:
    """A task that takes part in the fleet once per balance interval.

    `caught_up`: a run that ends once it has caught up may end.
    """

    def __init__(
        self,
        fleet: Fleet,
        table: LeaseTable,
        running_shards: RunningShards,
        taker: LeaseTaker,
        caught_up: CaughtUp,
        clock: Clock,
        rng: Random,
        metrics: Metrics,
        outages: Outages,
    ) -> None:
        self._fleet, self._timings, self._table = fleet, fleet.timings, table
        self._running_shards, self._taker, self._view = running_shards, taker, taker.view
        self._clock, self._rng, self._metrics, self._outages = clock, rng, metrics, outages
        self._duplicates = DuplicateWorker(fleet.me, self._timings.settling)
        self.incoming = IncomingOffers(fleet.me, self._timings.offer_patience)
        self._due = float("-inf")
        self._steal_at = float("-inf")
        self._steps = 0
        self._judge = caught_up
        self.caught_up = False

    def step(self, now: float) -> float:
        self._running_shards.remove_finished()
        try:
            if now < self._due:
                self.receive(now)
            else:
                self._due = self._take_part(now) + self._clock()
        except LeaseTableUnavailable as error:
            self._outages.failed("scan.failed", "scan", error)
            wait = self._pause()
            self._due = self._clock() + wait
            return wait
        self._outages.worked("scan")
        return max(0.0, min(self._due - self._clock(), self._refresh_in(self._clock())))

    @property
    def notice(self) -> float:
        """Return the seconds after which every live peer has scanned the table again."""
        return self._view.scan_interval + self._timings.scan_delay

    def _pause(self) -> float:
        return self._timings.balance_interval - self._rng.uniform(0, self._timings.jitter)

    def _take_part(self, now: float) -> float:
        """Observe and act; return the seconds until the next time."""
        if self.observe(now):
            self._duplicates.watch(self._view.rows)
            if not self._duplicates.settled_in and (wait := self._duplicates.settle_in(self._view.rows)):
                self._running_shards.log.info("worker.returns", wait=wait)
                return wait
            if not self._running_shards.draining:
                self.act(now)
            self._running_shards.takes_part = True
        if self._running_shards.draining:
            self._decline_offers()
        else:
            self._hand_off()
        return self._pause()

    # Observe ---------------------------------------------------------------------------------------------------------

    def observe(self, now: float) -> bool:
        """Scan the table if that is due, else read urgent rows; return False if there was nothing to read."""
        if self._view.scan_due(now):
            self._view.scan(now)
            self._running_shards.unreadable.scanned(now)
            self._metrics.shards_counted(*self._view.count_shards(now))
            return True
        urgent = [row.shard_id for row in self._view.rows if self._is_urgent(row, now)]
        if urgent:
            self._view.read(urgent, now)
        return bool(urgent)

    def _is_urgent(self, row: Lease, now: float) -> bool:
        """Return whether the owner may be dead, or the lease is coming to us."""
        if row.ended or row.shard_id in self._running_shards.running:
            return False
        return self._view.liveness.silent(row, now) or self.incoming.concerns(row)

    # Act -------------------------------------------------------------------------------------------------------------

    def act(self, now: float) -> None:
        """Take leases and ask for leases, as the plan says."""
        moves = FIRST_MOVES * 2 ** min(self._steps, MOST_DOUBLINGS)
        running = self._running_shards.running.keys()
        view = View(self._fleet.me, running, now, self._fleet.most_leases, moves, may_steal=now >= self._steal_at)
        decided = plan(self._view.rows, self._view.liveness, view)
        self._steps += 1
        if decided.steal:
            self._steal_at = now + self._timings.steal_interval
        self._taker.take([*decided.take, *decided.steal])
        for row in decided.want:
            self._taker.want(row)
        self.caught_up = self._judge.judge(self._view.rows, now)

    def _hand_off(self) -> None:
        """Hand off leases that a peer has requested, or that a KCL's leader moves."""
        for shard_id, consumer in self._running_shards.running.items():
            row = self._view.row(shard_id)
            seen = row.next_owner if row is not None and row.held_by(self._fleet.me) else None
            next_owner = consumer.held_lease.lease.next_owner or seen  # the response to a renewal shows a request too
            if next_owner is not None:
                self._running_shards.hand_off(consumer, next_owner)

    # Receive ---------------------------------------------------------------------------------------------------------

    def receive(self, now: float) -> None:
        """Read the rows that are coming to us; take those that were offered, or decline them while draining."""
        rows = self._view.read(self.incoming.expected(now), now)
        if self._running_shards.draining:
            self._decline_offers()
            return
        offered = {row.shard_id for row in rows if row.waits_for(self._fleet.me)}
        if offered:  # a KCL may assign a child before its parents have ended
            room = max(0, self._fleet.most_leases - len(self._running_shards.running))
            self._taker.take([row for row in self._view.runnable() if row.shard_id in offered][:room])

    def _refresh_in(self, now: float) -> float:
        """Return the seconds until rows that are coming to us should be read; longer in a large fleet."""
        self.incoming.observe(self._view.rows, self._running_shards.running, now)
        if not self._duplicates.settled_in or not self.incoming.expected(now):
            return float("inf")
        return REFRESH_INTERVAL * self._view.scan_interval / self._timings.balance_interval

    def _decline_offers(self) -> None:
        """Withdraw requests and release offers, because this worker is leaving and other workers should take them."""
        for _ in range(DECLINE_ATTEMPTS):
            rows = [row for row in self._view.rows if row.shard_id not in self._running_shards.running]
            self._view.write(self.incoming.declines(rows))

    def next_owners(self) -> dict[NextOwner, int]:
        """Return the workers that may be offered leases, with the number of leases that each has.

        These are the live workers of this program. Only if there is none, they are the workers of a KCL 3.x.
        """
        peers = self._view.peers(self._clock())
        ours = {NextOwner(name): peer.leases for name, peer in peers.items() if peer.ours and not peer.draining}
        if ours:
            return ours
        # The metrics row of a KCL worker stays fresh for a minute after its death. Its leases show the death sooner.
        assignees = set(self._table.assignees()) - (self._taker.dead_owners - peers.keys())
        return {NextOwner(name, ours=False): peers[name].leases if name in peers else 0 for name in assignees}


def create_balancer(running_shards: RunningShards) -> Balancer:
    """Create the balancer of the worker that reads these shards."""
    context, fleet, table = running_shards.context, running_shards.fleet, running_shards.table
    taker = LeaseTaker(
        fleet.me,
        TableView(table, fleet.me, Liveness(fleet.timings)),
        running_shards,
        running_shards.rows.initial_position.stream_created_at,
        context.clock,
        context.server_time,
        context.metrics,
        running_shards.log,
    )
    return Balancer(
        fleet,
        table,
        running_shards,
        taker,
        CaughtUp(running_shards),
        context.clock,
        context.rng,
        context.metrics,
        context.outages,
    )
