"""Keeps the leases of this process: all are renewed in one write, each third of a lease."""

from consumer.engine.backoff import Backoff
from consumer.engine.holdings import Holdings
from consumer.errors import LeaseTableUnavailable


class Renewals:
    """A task on a lane of its own."""

    def __init__(self, holdings: Holdings) -> None:
        self._holdings = holdings
        duration = holdings.fleet.lease_duration
        self._backoff = Backoff(duration / 24, duration / 6, holdings.world.rng)

    def step(self, now: float) -> float:
        tenures = [consumer.tenure for consumer in self._holdings.running.values()]
        begun = [(tenure, change) for tenure in tenures if (change := tenure.begin_renewal()) is not None]
        if not begun:
            return self._holdings.fleet.renewal_interval / 4
        sent = self._holdings.world.clock()
        try:
            written = self._holdings.table.write([change for _, change in begun])
        except LeaseTableUnavailable as error:
            for tenure, _ in begun:
                tenure.end_renewal(None, sent)
            self._holdings.log.warning("renewal.failed", error=str(error), leases=len(begun))
            return self._backoff.next()
        except BaseException:
            for tenure, _ in begun:
                tenure.end_renewal(None, sent)
            raise
        settled = [tenure.end_renewal(answer, sent) for (tenure, _), answer in zip(begun, written, strict=True)]
        self._backoff.reset()
        return self._holdings.fleet.renewal_interval if all(settled) else 0.01
