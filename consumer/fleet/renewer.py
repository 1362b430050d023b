"""Keeps the leases of this process: all are renewed in one write, each third of a lease."""

from collections.abc import Sequence

from consumer.errors import LeaseTableUnavailable
from consumer.fleet.running_shards import RunningShards
from consumer.leases import PartlyWritten, Written
from consumer.runtime.backoff import Backoff, RetryPolicy
from consumer.telemetry.metrics import LeaseEvent


class Renewer:
    """A task on a lane of its own."""

    def __init__(self, running_shards: RunningShards) -> None:
        self._running_shards = running_shards
        duration = running_shards.fleet.lease_duration
        self._backoff = Backoff(RetryPolicy(duration / 24, duration / 6), running_shards.context.rng)

    def step(self, now: float) -> float:
        held_leases = [consumer.held_lease for consumer in self._running_shards.running.values()]
        begun = [(lease, change) for lease in held_leases if (change := lease.begin_renewal()) is not None]
        if not begun:
            return self._running_shards.fleet.renewal_interval / 4
        sent = self._running_shards.context.clock()
        answers: Sequence[Written | None] = [None] * len(begun)
        failure: LeaseTableUnavailable | None = None
        try:
            answers = self._running_shards.table.write([change for _, change in begun])
        except PartlyWritten as error:
            answers, failure = error.answers, error
        except LeaseTableUnavailable as error:
            failure = error
        finally:
            settled = [
                held_lease.end_renewal(answer, sent) for (held_lease, _), answer in zip(begun, answers, strict=True)
            ]
        if failure is not None:
            self._running_shards.context.metrics.leased(LeaseEvent.RENEWAL_FAILED)
            leases = answers.count(None)
            self._running_shards.context.outages.failed("renewal.failed", "renewals", failure, leases=leases)
            return self._backoff.next()
        self._running_shards.context.outages.worked("renewals")
        self._running_shards.log.debug("leases.renewed", leases=len(begun))
        self._backoff.reset()
        took = self._running_shards.context.clock() - sent
        return max(0.0, self._running_shards.fleet.renewal_interval - took) if all(settled) else 0.01
