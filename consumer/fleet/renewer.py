"""Renew all leases of this process in one write, once per third of a lease."""

from collections.abc import Sequence

from consumer.errors import LeaseTableUnavailable
from consumer.fleet.running_shards import RunningShards
from consumer.leases import Change, PartlyWritten, Written
from consumer.runtime.backoff import Backoff, RetryPolicy
from consumer.shard.held_lease import HeldLease
from consumer.telemetry.metrics import LeaseEvent

# Seconds until the next try if a row has changed since it was read; its new state is known already.
REPEAT = 0.01


class Renewer:
    """A task on its own lane, so that a sink that hangs never delays a renewal."""

    def __init__(self, running_shards: RunningShards) -> None:
        self._running_shards, self._table, self._log = running_shards, running_shards.table, running_shards.log
        context, timings = running_shards.context, running_shards.fleet.timings
        self._clock, self._metrics, self._outages = context.clock, context.metrics, context.outages
        self._interval = timings.renewal_interval
        self._backoff = Backoff(RetryPolicy(timings.first_renewal_retry, timings.most_renewal_retry), context.rng)

    def step(self, now: float) -> float:
        held_leases = [consumer.held_lease for consumer in self._running_shards.running.values()]
        begun = [(lease, change) for lease in held_leases if (change := lease.begin_renewal()) is not None]
        if not begun:
            return self._interval / 4
        sent = self._clock()
        settled, failure, unknown = self._write(begun, sent)
        if failure is not None:
            self._metrics.lease_changed(LeaseEvent.RENEWAL_FAILED)
            self._outages.failed("renewal.failed", "renewals", failure, leases=unknown)
            return self._backoff.next()
        self._outages.worked("renewals")
        self._log.debug("leases.renewed", leases=len(begun))
        self._backoff.reset()
        return max(0.0, self._interval - (self._clock() - sent)) if settled else REPEAT

    def _write(
        self, begun: Sequence[tuple[HeldLease, Change]], sent: float
    ) -> tuple[bool, LeaseTableUnavailable | None, int]:
        """Write the renewals, and give each lease its result.

        Return whether all rows were as expected, the failure of the write if it failed, and the number of leases whose
        result is unknown.
        """
        results: Sequence[Written | None] = [None] * len(begun)
        failure: LeaseTableUnavailable | None = None
        try:
            results = self._table.write([change for _, change in begun])
        except PartlyWritten as error:
            results, failure = error.results, error
        except LeaseTableUnavailable as error:
            failure = error
        finally:
            settled = [lease.end_renewal(result, sent) for (lease, _), result in zip(begun, results, strict=True)]
        return all(settled), failure, results.count(None)
