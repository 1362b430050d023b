"""Declare the intervals of a fleet as fractions of the lease duration, so that one setting scales them all."""

from dataclasses import dataclass


class Fraction:
    """An attribute with the seconds of a fraction of another attribute, by default the lease duration."""

    def __init__(self, fraction: float, of: str = "lease_duration") -> None:
        self._fraction, self._of = fraction, of

    def __get__(self, timings: "LeaseTimings", _: object) -> float:
        return self._fraction * float(getattr(timings, self._of))


@dataclass(frozen=True, slots=True)
class LeaseTimings:
    """Intervals in seconds, for a lease duration in seconds."""

    lease_duration: float = 10.0

    # Two renewals may fail before the lease expires.
    renewal_interval = Fraction(1 / 3)
    # A failed renewal is retried several times before the next one is due.
    first_renewal_retry = Fraction(1 / 24)
    # After the last successful renewal there is time for at least three retries.
    most_renewal_retry = Fraction(1 / 6)

    # Work that is due within this time is done at once, and steps come early by up to this time. A scan that waited for
    # the next step would be up to one interval late, and so would be the acceptance of an offer.
    jitter = Fraction(0.2, of="balance_interval")
    # A peer's scan may be late by this much, because the table may be slow.
    scan_delay = Fraction(0.5, of="balance_interval")
    # However large the table is, a dead owner is found within the next lease.
    most_scan_interval_for_rows = Fraction(1 / 3)
    # However large the fleet is; some worker scans much sooner.
    most_scan_interval_for_workers = Fraction(1.0)

    # A longer gap between two scans counts as this, because we did not look meanwhile.
    longest_gap = Fraction(0.4)
    # An owner that is silent for so long may be dead, because it has missed a renewal. Its row is read between scans.
    silence = Fraction(0.35)
    # A lease that is free for so long is for any worker: those below their share had time to take it.
    unwanted_after = Fraction(0.5)
    # An owner keeps a lease for so long before it moves only to even out bytes, because estimates need time.
    settled_after = Fraction(3.0)
    # A worker of a KCL 2.x steals as rarely.
    steal_interval = Fraction(2.0)
    # A live process with our worker id renews within this time.
    settling = Fraction(1.5, of="renewal_interval")

    # A shard that cannot deliver for so long is handed off without its last batch.
    handoff_patience = Fraction(1.0)
    # A requested lease is read often for so long. Its owner may be busy for much longer.
    offer_patience = Fraction(1.0)
    # An offer that is not accepted within these seconds is free for any worker. A live recipient needs 0.1 s.
    offer_duration = 2.0

    @property
    def balance_interval(self) -> float:
        """Return a tenth of the lease, at most 1 s, so that a dead owner is found soon after its lease has expired."""
        return min(1.0, self.lease_duration / 10)
