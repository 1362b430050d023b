"""Run checks side by side, each for a limited time. A check that hangs is reported and delays no other."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum

from consumer.errors import ConsumerError, where
from consumer.runtime.scheduler import Lane, ThreadScheduler


class Level(Enum):
    """Severity of a finding. A worker cannot do its work while a check is FAILED."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line about `what`."""

    level: Level
    what: str
    text: str

    @property
    def line(self) -> str:
        """Return the finding as it is printed."""
        return f"{self.level.value:8}{self.what}: {' '.join(self.text.split())}"


def ok(what: str, text: str) -> Finding:
    """Return a finding that reports success."""
    return Finding(Level.OK, what, text)


def warning(what: str, text: str) -> Finding:
    """Return a finding that an operator should know."""
    return Finding(Level.WARNING, what, text)


def failed(what: str, text: str) -> Finding:
    """Return a finding that names a failure and what to do about it."""
    return Finding(Level.FAILED, what, text)


@dataclass(eq=False)
class Check:
    """One check. `run` returns findings or raises; `hangs` is the advice when it does not end in time."""

    what: str
    run: Callable[[], Iterable[Finding]]
    hangs: str = "check the network, proxies and firewalls"
    done: threading.Event = field(default_factory=threading.Event)
    findings: Sequence[Finding] = ()

    def step(self, now: float) -> None:
        """Run the check on a thread of the scheduler."""
        try:
            self.findings = list(self.run())
        except ConsumerError as error:
            self.findings = [failed(self.what, str(error))]
        except Exception as error:  # the text may contain a value
            self.findings = [failed(self.what, f"unforeseen {type(error).__name__} at {where(error)}")]
        self.done.set()


def run_checks(checks: Sequence[Check], seconds: float) -> Iterator[Finding]:
    """Run all checks at once.

    Yield their findings in order, and a failure for each that does not end within `seconds`.
    """
    scheduler = ThreadScheduler(max(1, len(checks)), lambda _: None)
    for check in checks:
        scheduler.add(check, Lane.SHARDS)
    give_up = time.monotonic() + seconds
    for check in checks:
        if check.done.wait(max(0.0, give_up - time.monotonic())):
            yield from check.findings
        else:
            yield failed(check.what, f"no response within {seconds:.0f} s: {check.hangs}")
    scheduler.stop()
