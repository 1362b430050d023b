"""Judge how far a shard has been read. `MillisBehindLatest` shows little alone: emulators compute it differently.

A response with records shows when they arrived. A response without records shows that everything is read. But a run
with --until-caught-up needs several of them in a row, each from a new iterator.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from consumer.records import Fetched, Record

# Records of one millisecond may follow in the next response, and the server's time is known in whole seconds.
ARRIVAL_MARGIN = timedelta(seconds=1)
# Responses in a row without a new record: at five per second, they span two seconds.
AGREEING = 10
# More of them once an empty response has denied records that had already arrived. 60 % empty responses were seen then.
AGREEING_AFTER_LIE = 20
NEARLY_NOTHING = 1000  # milliseconds behind the tip that some emulators always report


@dataclass(frozen=True, slots=True)
class ReadResponse:
    """A response, its new records, and its request.

    `asked` is the server's time, `seconds` how long the request took.
    """

    fetched: Fetched
    fresh: Sequence[Record]
    iterator: str
    asked: datetime
    limit: int
    seconds: float

    @property
    def found_nothing(self) -> bool:
        """Return whether nothing new came although there was room; a new iterator repeats the last record."""
        return not self.fresh and len(self.fetched.records) < self.limit

    @property
    def proves_end(self) -> bool:
        """Return whether nothing follows the last record, as far as one response can show it."""
        return self.found_nothing and self.fetched.millis_behind == 0

    @property
    def arrived(self) -> datetime | None:
        """Return when the last new record arrived, or None if that is unknown."""
        return _arrival(self.fresh[-1]) if self.fresh else None


class Tip:
    """How far one shard has been read, judged from its responses.

    `at_tip`: according to its lag, the last response left nothing to fetch. `settled`: enough responses agree.
    `read_to`: everything that had arrived by then is fetched; None if that is unknown. `lag`: the milliseconds that
    the last response reported, or None.
    """

    def __init__(self, eager: bool) -> None:
        self._eager = eager  # in a run that ends once it has caught up
        self._lied = False
        self.lag: int | None = None
        self.restart()

    def restart(self) -> None:
        """Forget the responses, but keep that one of them was wrong."""
        self.at_tip, self.settled = False, False
        self.read_to: datetime | None = None
        self._near_tip, self._agreeing = False, 0
        self._denied_at: datetime | None = None

    @property
    def state(self) -> str:
        """Return in words what the last response reported, if it had no new records."""
        lag = "no lag" if self.lag is None else f"a lag of {self.lag} ms"
        return f"it has no new records, and the stream reports {lag}"

    @property
    def is_unconfirmed(self) -> bool:
        """Return whether a response to a new iterator has to agree that this is the tip."""
        return self._eager and self._near_tip and not self.settled

    def judge(self, response: ReadResponse) -> None:
        """Judge the next response."""
        self.lag = behind = response.fetched.millis_behind
        self._compare(response)
        self.at_tip = behind == 0 if behind is not None else response.found_nothing
        self._near_tip = self.at_tip or (behind is not None and behind < NEARLY_NOTHING)
        self._denied_at = response.asked if self._near_tip and response.found_nothing else None
        self._agreeing = self._agreeing + 1 if self._near_tip and response.found_nothing else 0
        enough = AGREEING_AFTER_LIE if self._lied else AGREEING
        self.settled = self._near_tip and response.found_nothing and (self.settled or self._agreeing >= enough)
        up_to = response.asked - timedelta(milliseconds=behind or 0)
        trusted = not self._eager and not self._lied and behind is not None
        if self.settled or (response.found_nothing and trusted):
            self._reach(up_to)
        elif response.arrived is not None:
            self._reach(min(response.arrived - ARRIVAL_MARGIN, up_to))

    def _compare(self, response: ReadResponse) -> None:
        """Notice a record that had arrived before the last response, although that was empty and reported no lag."""
        first = _arrival(response.fresh[0]) if response.fresh else None
        if self._denied_at is not None and first is not None and first < self._denied_at - ARRIVAL_MARGIN:
            self._lied = True

    def _reach(self, instant: datetime) -> None:
        self.read_to = max(self.read_to, instant) if self.read_to else instant


def _arrival(record: Record) -> datetime | None:
    return datetime.fromtimestamp(record.arrived_at, UTC) if record.arrived_at else None
