"""Keeps the leases of this process: all are renewed in one write, each third of a lease."""

from collections.abc import Sequence

from consumer.errors import LeaseTableUnavailable
from consumer.fleet.running_shards import RunningShards
from consumer.leases import PartlyWritten, Written
from consumer.runtime.backoff import Backoff
from consumer.telemetry.metrics import LeaseEvent


class Renewer:
    """A task on a lane of its own."""

    def __init__(self, holdings: RunningShards) -> None:
        self._holdings = holdings
        duration = holdings.fleet.lease_duration
        self._backoff = Backoff(duration / 24, duration / 6, holdings.world.rng)

    def step(self, now: float) -> float:
        tenures = [consumer.held_lease for consumer in self._holdings.running.values()]
        begun = [(held_lease, change) for held_lease in tenures if (change := held_lease.begin_renewal()) is not None]
        if not begun:
            return self._holdings.fleet.renewal_interval / 4
        sent = self._holdings.world.clock()
        answers: Sequence[Written | None] = [None] * len(begun)
        failure: LeaseTableUnavailable | None = None
        try:
            answers = self._holdings.table.write([change for _, change in begun])
        except PartlyWritten as error:
            answers, failure = error.answers, error
        except LeaseTableUnavailable as error:
            failure = error
        finally:
            settled = [
                held_lease.end_renewal(answer, sent) for (held_lease, _), answer in zip(begun, answers, strict=True)
            ]
        if failure is not None:
            self._holdings.world.metrics.leased(LeaseEvent.RENEWAL_FAILED)
            leases = answers.count(None)
            self._holdings.world.outages.failed("renewal.failed", "renewals", failure, leases=leases)
            return self._backoff.next()
        self._holdings.world.outages.worked("renewals")
        self._holdings.log.debug("leases.renewed", leases=len(begun))
        self._backoff.reset()
        took = self._holdings.world.clock() - sent
        return max(0.0, self._holdings.fleet.renewal_interval - took) if all(settled) else 0.01
