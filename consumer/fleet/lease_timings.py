"""Compute the intervals of a fleet from the lease duration, so that one setting scales them all."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LeaseTimings:
    """Intervals in seconds, most of them fractions of `lease_duration`. Each property gives its reason."""

    lease_duration: float = 10.0

    @property
    def renewal_interval(self) -> float:
        """Return a third of the lease: two renewals may fail before it expires."""
        return self.lease_duration / 3

    @property
    def first_renewal_retry(self) -> float:
        """Return a 24th of the lease: a failed renewal is retried several times before the next one is due."""
        return self.lease_duration / 24

    @property
    def most_renewal_retry(self) -> float:
        """Return a sixth of the lease: after the last successful renewal there is time for at least three retries."""
        return self.lease_duration / 6

    @property
    def balance_interval(self) -> float:
        """Return a tenth of the lease, at most 1 s: a dead owner is found soon after its lease has expired."""
        return min(1.0, self.lease_duration / 10)

    @property
    def jitter(self) -> float:
        """Return a fifth of the balance interval, by which a step may come early.

        Work that is due within it is done at once. A scan that waited for the next step would be up to one interval
        late, and so would be the acceptance of an offer.
        """
        return 0.2 * self.balance_interval

    @property
    def scan_delay(self) -> float:
        """Return half a balance interval, by which a peer's scan may be late, because the table may be slow."""
        return 0.5 * self.balance_interval

    @property
    def most_scan_interval_for_rows(self) -> float:
        """Return a third of the lease: however large the table is, a dead owner is found within the next lease."""
        return self.lease_duration / 3

    @property
    def most_scan_interval_for_workers(self) -> float:
        """Return one lease: in a large fleet some worker scans much sooner."""
        return self.lease_duration

    @property
    def longest_gap(self) -> float:
        """Return 0.4 of the lease: a longer gap between scans counts as this, because we did not look meanwhile."""
        return 0.4 * self.lease_duration

    @property
    def silence(self) -> float:
        """Return 0.35 of the lease, after which an owner is suspect: a bit more than the time between two renewals."""
        return 0.35 * self.lease_duration

    @property
    def unwanted_after(self) -> float:
        """Return half a lease, after which a free lease is for all: workers below their share had time to take it."""
        return 0.5 * self.lease_duration

    @property
    def settled_after(self) -> float:
        """Return three leases, for which an owner keeps a lease that is only moved to even out bytes."""
        return 3 * self.lease_duration

    @property
    def steal_interval(self) -> float:
        """Return two leases: a worker of a KCL 2.x steals as seldom."""
        return 2 * self.lease_duration

    @property
    def settling(self) -> float:
        """Return one and a half renewal intervals: a live process with our worker id renews in that time."""
        return 1.5 * self.renewal_interval

    @property
    def handoff_patience(self) -> float:
        """Return one lease: a shard that cannot deliver for so long is handed off without its last batch."""
        return self.lease_duration

    @property
    def offer_patience(self) -> float:
        """Return one lease, for which a requested lease is read often. Its owner may be busy for much longer."""
        return self.lease_duration

    @property
    def offer_duration(self) -> float:
        """Return 2 s, after which an offer that was not accepted is free for all. A live recipient needs 0.1 s."""
        return 2.0
