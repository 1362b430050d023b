"""Looks at the lease table and acts: takes what is free, asks for a fair share, hands over what was asked for."""

from collections.abc import Sequence
from dataclasses import replace

from consumer.errors import LeaseTableUnavailable
from consumer.fleet.assignment import View, peers_of, plan
from consumer.fleet.caught_up import CaughtUp
from consumer.fleet.duplicate_worker import DuplicateWorker
from consumer.fleet.incoming import REFRESH_INTERVAL, IncomingOffers
from consumer.fleet.initial_position import LATEST_MARGIN
from consumer.fleet.lineage import runnable
from consumer.fleet.liveness import Liveness
from consumer.fleet.running_shards import Fleet, RunningShards
from consumer.leases import Change, Lease, NextOwner
from consumer.leases.lease import taken
from consumer.records import PositionKind
from consumer.shard.held_lease import HeldLease
from consumer.telemetry.metrics import LeaseEvent

# A larger table, or one that more workers read, is scanned more seldom; what is urgent is then looked at row by row.
# With ten workers the scans cost about a third of what the renewals cost, whatever the number of shards.
# https://aws.amazon.com/dynamodb/pricing/on-demand/ (a write costs five reads)
SMALL_TABLE = 500
SMALL_FLEET = 10
# A new worker moves so many leases in its first step and doubles them with each, so that others who start with it get
# their share at once and not by a second move.
FIRST_MOVES = 4
# How much shorter than a probe interval a step may be, in probe intervals. What is due so soon is done now: a scan that
# waited for the next step would come up to twice as late, and with it the acceptance of an offer.
JITTER = 0.2
# How much later than planned a scan may come, in probe intervals: the table may be slow.
NOTICED = 0.5
# A refusal is made again with what the first one has shown: an owner that delivers writes to its row all the time.
DECLINE_ATTEMPTS = 2
# Leases taken in one call: each is read from as soon as its call is answered.
TAKEN_AT_ONCE = 16


class Balancer:
    """A task that takes part in the fleet once in a probe interval."""

    def __init__(self, running_shards: RunningShards) -> None:
        self._running_shards = running_shards
        self._fleet = running_shards.fleet
        self._liveness = Liveness(running_shards.fleet.lease_duration)
        self._duplicates = DuplicateWorker(running_shards.fleet.me, running_shards.fleet.renewal_interval)
        self._rows: dict[str, Lease] = {}
        self.incoming = IncomingOffers(running_shards.fleet.me, running_shards.fleet.lease_duration)
        self._scan_interval = running_shards.fleet.balance_interval
        self._scan_at = float("-inf")
        self._due = float("-inf")
        self._steal_at = float("-inf")
        self._jitter = JITTER * running_shards.fleet.balance_interval
        self._steps = 0
        self._dead: set[str] = set()  # those whose leases we have taken because they had run out
        self._caught_up = CaughtUp(running_shards)
        self.caught_up = False

    def step(self, now: float) -> float:
        self._running_shards.remove_finished()
        clock = self._running_shards.context.clock
        try:
            if now < self._due:
                self._refresh(now)
            else:
                self._due = self._take_part(now) + clock()
        except LeaseTableUnavailable as error:
            self._running_shards.context.outages.failed("scan.failed", "scan", error)
            wait = self._pause()
            self._due = clock() + wait
            return wait
        self._running_shards.context.outages.worked("scan")
        return max(0.0, min(self._due - clock(), self._refresh_in(clock())))

    @property
    def notice(self) -> float:
        """Seconds after which those who live have looked at the table again."""
        return self._scan_interval + NOTICED * self._fleet.balance_interval

    def _pause(self) -> float:
        return self._fleet.balance_interval - self._running_shards.context.rng.uniform(0, self._jitter)

    def _take_part(self, now: float) -> float:
        """Look at the table, and act upon it; returns the seconds until the next time."""
        if self._observe(now):
            self._duplicates.watch(list(self._rows.values()))
            if not self._duplicates.settled_in and (wait := self._duplicates.settle_in(list(self._rows.values()))):
                self._running_shards.log.info("worker.returns", wait=wait)
                return wait
            if not self._running_shards.draining:
                self._act(now)
            self._running_shards.takes_part = True
        if self._running_shards.draining:
            self._decline()
        else:
            self._hand_off()
        return self._pause()

    # Looking ---------------------------------------------------------------------------------------------------------

    def _observe(self, now: float) -> bool:
        """Scan when it is time, else look at single rows; False when there was nothing to look at."""
        if now >= self._scan_at:
            rows = list(self._running_shards.table.scan())
            blocked = self._running_shards.table.unreadable().keys()  # nobody knows whether these have ended
            self._rows = {row.shard_id: row for row in rows if blocked.isdisjoint(row.parents)}
            self._liveness.observe(rows, now)
            self._scan_interval = scan_interval(self._fleet, rows, self._live(rows, now))
            self._scan_at = now + self._scan_interval - self._jitter
            self._tell_what_is_read(now, len(blocked))
            return True
        urgent = [row.shard_id for row in self._rows.values() if self._is_urgent(row, now)]
        if urgent:
            rows = list(self._running_shards.table.read(urgent))
            self._rows |= {row.shard_id: row for row in rows}
            self._liveness.refresh(rows, now)
        return bool(urgent)

    def _tell_what_is_read(self, now: float, unreadable: int) -> None:
        """Count the shards that should be read, and those that other live workers read."""
        ours = {self._fleet.me.worker_id, None}
        rows = runnable(list(self._rows.values()))
        elsewhere = sum(row.owner not in ours and not self._liveness.expired(row, now) for row in rows)
        self._running_shards.context.metrics.seen(len(rows) + unreadable, elsewhere)

    def _live(self, rows: Sequence[Lease], now: float) -> int:
        return 1 + len(peers_of(runnable(rows), self._liveness, self._fleet.me, now))

    def _is_urgent(self, row: Lease, now: float) -> bool:
        """Its owner may be dead, or it may be on its way to us."""
        if row.ended or row.shard_id in self._running_shards.running:
            return False
        return self._liveness.silent(row, now) or self.incoming.concerns(row)

    def _refresh_in(self, now: float) -> float:
        """Seconds until what is on its way is worth a look of its own; seldom where many workers would look often."""
        self.incoming.observe(self._rows.values(), self._running_shards.running, now)
        if not self._duplicates.settled_in or not self.incoming.expected(now):
            return float("inf")
        return REFRESH_INTERVAL * self._scan_interval / self._fleet.balance_interval

    def _refresh(self, now: float) -> None:
        """Look at what is on its way, and accept what has come; or refuse it, if we are on our way out."""
        rows = list(self._running_shards.table.read(self.incoming.expected(now)))
        self._rows |= {row.shard_id: row for row in rows}
        self._liveness.refresh(rows, now)
        if self._running_shards.draining:
            self._decline()
            return
        come = {row.shard_id for row in rows if row.waits_for(self._fleet.me)}
        if come:  # a KCL may assign a child before its parents have ended
            room = max(0, self._fleet.most_leases - len(self._running_shards.running))
            self._take([row for row in runnable(list(self._rows.values())) if row.shard_id in come][:room])

    def _decline(self) -> None:
        """Say that nothing shall be handed to us any more: who is told too late has to be looked for by others."""
        for _ in range(DECLINE_ATTEMPTS):
            rows = [row for row in self._rows.values() if row.shard_id not in self._running_shards.running]
            declines = self.incoming.declines(rows)
            for written in self._running_shards.table.write(declines) if declines else ():
                if written.row is not None:
                    self._rows[written.row.shard_id] = written.row

    # Acting ----------------------------------------------------------------------------------------------------------

    def _act(self, now: float) -> None:
        moves = FIRST_MOVES * 2 ** min(self._steps, 16)
        may_steal = now >= self._steal_at
        view = View(self._fleet.me, self._running_shards.running.keys(), now, self._fleet.most_leases, moves, may_steal)
        decided = plan(list(self._rows.values()), self._liveness, view)
        self._steps += 1
        if decided.steal:
            self._steal_at = now + 2 * self._fleet.lease_duration
        self._take([*decided.take, *decided.steal])
        for row in decided.want:
            self._want(row)
        self.caught_up = self._caught_up.judge(list(self._rows.values()), now)

    def _take(self, rows: Sequence[Lease]) -> None:
        """Take leases by compare and swap; the answer is the row to start from."""
        for first in range(0, len(rows), TAKEN_AT_ONCE):
            with self._running_shards.taking:
                if self._running_shards.draining:
                    return
                self._take_some(rows[first : first + TAKEN_AT_ONCE])

    def _take_some(self, rows: Sequence[Lease]) -> None:
        sent = self._running_shards.context.clock()
        changes = [Change(row, self._taken(row)) for row in rows]
        for change, written in zip(changes, self._running_shards.table.write(changes), strict=True):
            if written.row is not None:
                self._rows[written.row.shard_id] = written.row
            if written.done and written.row is not None:
                if self._liveness.expired(change.before, sent):
                    self._dead.add(str(change.before.owner))
                self._begin(written.row, change.before.owner, sent)

    def _taken(self, row: Lease) -> Lease:
        """The row once it is ours, with what a KCL does not keep on it.

        LATEST means to a KCL "from now on" each time that it opens the shard. Here it gets its instant, so that a crash
        before the first checkpoint skips nothing.
        """
        mine = taken(row, self._fleet.me)
        if row.stream_created_at is None:
            mine = replace(mine, stream_created_at=self._running_shards.initial_position.stream_created_at)
        if row.checkpoint.kind is PositionKind.LATEST and row.started_at is None:
            mine = replace(mine, started_at=self._running_shards.context.server_time() - LATEST_MARGIN)
        return mine

    def _begin(self, row: Lease, before: str | None, sent: float) -> None:
        context = self._running_shards.context
        fleet, table = self._fleet, self._running_shards.table
        held_lease = HeldLease(table, row, fleet.me, fleet.lease_duration, context.clock)
        self._running_shards.read(held_lease.began(sent))
        context.metrics.leased(LeaseEvent.ACCEPTED if before == fleet.me.worker_id else LeaseEvent.TAKEN)
        self._running_shards.log.info("lease.taken", shard=row.shard_id, position=str(row.start), owner=before)

    def _want(self, row: Lease) -> None:
        self._running_shards.table.want(row, self._fleet.me.worker_id)
        self._rows[row.shard_id] = replace(row, wanted_by=self._fleet.me.worker_id)
        self._running_shards.context.metrics.leased(LeaseEvent.WANTED)
        self._running_shards.log.info("lease.wanted", shard=row.shard_id, owner=row.owner)

    def _hand_off(self) -> None:
        """Hand over what a peer wishes for, and what a KCL's leader moves away."""
        for shard_id, consumer in self._running_shards.running.items():
            row = self._rows.get(shard_id)
            seen = row.next_owner if row is not None and row.held_by(self._fleet.me) else None
            next_owner = consumer.held_lease.lease.next_owner or seen  # a renewal's answer shows a wish too
            if next_owner is not None:
                self._running_shards.hand_off(consumer, next_owner)

    def next_owners(self) -> dict[NextOwner, int]:
        """Who may be handed leases, and how many they have: peers of ours, else the workers of a KCL 3.x."""
        rows, now = runnable(list(self._rows.values())), self._running_shards.context.clock()
        peers = peers_of(rows, self._liveness, self._fleet.me, now)
        ours = {NextOwner(name): peer.leases for name, peer in peers.items() if peer.ours and not peer.draining}
        if ours:
            return ours
        # A KCL's worker has a fresh metrics row for a minute after its death: its leases say sooner that it is dead.
        assignees = set(self._running_shards.table.assignees()) - (self._dead - peers.keys())
        return {NextOwner(name, ours=False): peers[name].leases if name in peers else 0 for name in assignees}


def scan_interval(fleet: Fleet, rows: Sequence[Lease], workers: int) -> float:
    """Seconds between scans: a probe interval for a small fleet, up to a lease where scans would cost too much."""
    if any(row.draining and not row.ended for row in rows):  # offers are about to come
        return fleet.balance_interval
    by_rows = min(len(rows) / SMALL_TABLE, fleet.lease_duration / 3 / fleet.balance_interval)
    by_workers = min(workers / SMALL_FLEET, fleet.lease_duration / fleet.balance_interval)
    return fleet.balance_interval * max(1.0, by_rows, by_workers)
