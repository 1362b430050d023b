"""Asks questions side by side, each for a bounded time: what hangs is reported, and so are all the others."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum

from consumer.errors import ConsumerError, where
from consumer.runtime.scheduler import Lane, ThreadScheduler


class Level(Enum):
    """How a finding is printed, and what it means: what failed keeps a worker from its work."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found out about `what`, in one line."""

    level: Level
    what: str
    text: str

    @property
    def line(self) -> str:
        """Return it as it is printed."""
        return f"{self.level.value:8}{self.what}: {' '.join(self.text.split())}"


def ok(what: str, text: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(Level.OK, what, text)


def warning(what: str, text: str) -> Finding:
    """Return a finding that an operator should know."""
    return Finding(Level.WARNING, what, text)


def failed(what: str, text: str) -> Finding:
    """Return a finding that names a cause and what to do about it."""
    return Finding(Level.FAILED, what, text)


@dataclass(eq=False)
class Question:
    """One question. `ask` returns findings, or raises; `hangs` says what to do when it does not answer."""

    what: str
    ask: Callable[[], Iterable[Finding]]
    hangs: str = "is the network, a proxy or a firewall in the way?"
    answered: threading.Event = field(default_factory=threading.Event)
    findings: Sequence[Finding] = ()

    def step(self, now: float) -> None:
        """Ask, on a thread of the scheduler."""
        try:
            self.findings = list(self.ask())
        except ConsumerError as error:
            self.findings = [failed(self.what, str(error))]
        except Exception as error:  # its text may hold anything
            self.findings = [failed(self.what, f"unforeseen: {type(error).__name__} at {where(error)}")]
        self.answered.set()


def answers(questions: Sequence[Question], seconds: float) -> Iterator[Finding]:
    """Ask all questions at once; yield what they find, in their order, and which do not answer in time."""
    scheduler = ThreadScheduler(max(1, len(questions)), lambda _: None)
    for question in questions:
        scheduler.add(question, Lane.SHARDS)
    give_up = time.monotonic() + seconds
    for question in questions:
        if question.answered.wait(max(0.0, give_up - time.monotonic())):
            yield from question.findings
        else:
            yield failed(question.what, f"no answer within {seconds:.0f} s: {question.hangs}")
    scheduler.stop()
