"""Where one shard is read: an iterator that is opened where it has to go on, asked no oftener than AWS allows.

It keeps what is fetched and not decoded yet. What becomes of that, and when the next answer is due, is for the shard's
consumer to say.
"""

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from operator import ge

from consumer.errors import IncompleteResponse, PositionUnknown, ReadTimedOut, ShardGone
from consumer.leases import Lease
from consumer.records import TRIM_HORIZON, Fetched, Position, PositionKind, Record, Shard
from consumer.shard.context import ShardContext
from consumer.shard.read_size import MOST_RECORDS, ReadSize
from consumer.shard.shard_end import ShardEnd

# AWS: five GetRecords a second and shard, shared by all who read it.
# https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html
LEAST_INTERVAL = 0.2
# AWS: one answer holds at most 10 MiB.
LARGEST_RESPONSE = 10 * 1024 * 1024
FIRST_ESTIMATE = 1024 * 1024
# While an answer is read, each byte of data is there as JSON in base64, in pieces and put together, and decoded.
COPIES_IN_FLIGHT = 4
# Records of one millisecond may follow in the next answer, and clocks are compared in whole seconds.
ARRIVAL_MARGIN = timedelta(seconds=1)
# Answers in a row that find nothing more before a run that ends when it has caught up believes it. The first may be
# wrong, as emulators compute the distance from the tip in their own ways; more of them where it is not said at all.
AGREEING, AGREEING_WITHOUT_LAG = 2, 5
NEARLY_NOTHING = 1000  # milliseconds from the tip that some emulators always show


@dataclass(frozen=True, slots=True)
class Response:
    """What a read brought and how long it took, and how it was asked for: with which iterator, when, for how much."""

    fetched: Fetched
    fresh: Sequence[Record]
    iterator: str
    asked: datetime
    limit: int
    seconds: float

    @property
    def found_nothing(self) -> bool:
        """Nothing new came although there was room for it; a new iterator brings the last record once more."""
        return not self.fresh and len(self.fetched.records) < self.limit

    @property
    def proves_end(self) -> bool:
        """Nothing follows the last record, as far as a response can show it."""
        return self.found_nothing and self.fetched.millis_behind == 0

    @property
    def arrived(self) -> datetime | None:
        """When the last new record arrived, if that is known."""
        last = self.fresh[-1].arrived_at if self.fresh else 0.0
        return datetime.fromtimestamp(last, UTC) if last else None


class ShardReader:
    """The reading of one shard from one checkpoint on. `start` is that checkpoint, or where the last batch ended.

    `ended`: everything is fetched, and these are the `children`. `at_tip`: there was nothing more to fetch, as the
    stream says; `settled`: another answer agreed. `read_to`: everything that had arrived by then is fetched.
    """

    def __init__(self, lease: Lease, context: ShardContext) -> None:
        self._lease, self._context = lease, context
        self.read_size = ReadSize()
        self._end = ShardEnd(lease, context.stream)
        self._estimate = FIRST_ESTIMATE
        self._asked_at = float("-inf")
        self._lock, self._under_way = threading.Lock(), False
        self._unknown = False  # the stream said lately that it does not know the shard
        self.furthest = 0  # the last sequence number ever fetched here
        self.start_from(lease.start)

    def start_from(self, start: Position) -> None:
        """Forget what was fetched; go on behind `start`."""
        self.start = start
        self.backlog: deque[Record] = deque()
        self._fetched: int | None = None  # the last sequence number fetched
        self._iterator: str | None = None
        self.ended, self.at_tip, self.settled = False, False, False
        self._near_tip, self._agreeing = False, 0
        self._seems_ended = False  # the last response was empty and had no next iterator
        self.children: Sequence[Shard] = ()
        self.read_to: datetime | None = None

    def go_back_to(self, last: Position | None) -> None:
        """Forget what was fetched after `last`, the last record that is decoded; None: none is."""
        self.start_from(self.start)
        self._fetched = last.sequence if last else None

    def reopen(self) -> None:
        """Get a new iterator for the next answer."""
        self._iterator = None

    def wait(self, now: float) -> float:
        """Seconds until AWS lets us ask again; not above 0: now."""
        return self._asked_at + LEAST_INTERVAL - now

    @property
    def need(self) -> int:
        """Bytes of memory that the next answer will take while it is read, judged by the last one."""
        return COPIES_IN_FLIGHT * self._estimate

    @property
    def size(self) -> int:
        """Bytes of memory held."""
        return sum(len(record.data) for record in self.backlog)

    def fetch(self, now: float) -> Fetched | None:
        """Fetch the next answer into the backlog; None when it turns out that the shard is gone, which ends it.

        Raises:
            Retryable: try again; `IteratorExpired` after `reopen`.
        """
        self._asked_at = now
        try:
            answer = self._read(now)
        except ShardGone:
            self._iterator, self._unknown = None, True
            self._end.gone(now)
            self.ended = True
            return None
        except (IncompleteResponse, ReadTimedOut):
            self._iterator = None
            self.read_size.timed_out()
            raise
        self._end.answered()
        self._keep(answer)
        self._judge_tip(answer)
        self._go_on(answer, now)
        return answer.fetched

    @contextmanager
    def under_way(self) -> Iterator[bool]:
        """Is a request under way in another thread? If so it does not come back before this context ends."""
        with self._lock:
            yield self._under_way

    def _read(self, now: float) -> Response:
        """The next answer, and how it was asked for."""
        self._under_way = True
        try:
            if self._unknown:
                self._end.check_stream(now)
            iterator, again = self._iterator, 0
            if iterator is None:
                iterator = self._iterator = self._open(now)
                again = 0 if self._fetched is None else 1
            began = self._context.clock()
            asked, limit = self._context.server_time(), min(MOST_RECORDS, self.read_size.records + again)
            fetched = self._context.stream.fetch(iterator, limit, self.read_size.cut)
            self._unknown = False
            seconds = self._context.clock() - began
            return Response(fetched, self._fresh(fetched.records), iterator, asked, limit, seconds)
        finally:
            with self._lock:
                self._under_way = False

    def _open(self, now: float) -> str:
        """An iterator at the last fetched record. Where that is trimmed, and the stream refuses it, at the beginning.

        That loses nothing: what was fetched or delivered before is left out.
        """
        after = self.start if self._fetched is None else Position.of(self._fetched)
        try:
            return self._context.stream.open(self._lease.shard_id, after)
        except PositionUnknown:
            if after.kind is not PositionKind.SEQUENCE:
                raise
            self._end.check_stream(now)  # another stream of this name would refuse it too
            return self._context.stream.open(self._lease.shard_id, TRIM_HORIZON)

    def _fresh(self, records: Sequence[Record]) -> Sequence[Record]:
        """Those that were not fetched before, in order and once each, however they came."""
        last = self._fetched
        fresh = records if last is None else [record for record in records if record.sequence > last]
        numbers = [record.sequence for record in fresh]
        if any(map(ge, numbers, numbers[1:])):
            return sorted({record.sequence: record for record in fresh}.values(), key=lambda record: record.sequence)
        return fresh

    def _keep(self, answer: Response) -> None:
        fetched, fresh = answer.fetched, answer.fresh
        self.read_size.answered(len(fetched.records), fetched.size, answer.seconds)
        if fresh:
            self.backlog.extend(fresh)
            self._fetched = fresh[-1].sequence
            self.furthest = max(self.furthest, self._fetched)
            self._estimate = min(LARGEST_RESPONSE, max(fetched.size, 1))

    def _judge_tip(self, answer: Response) -> None:
        """Find out what has surely been read, however the distance from the tip is computed.

        An answer with records shows no more than when they arrived. One that finds nothing shows that all is read, but
        in a run that ends once it has caught up, a new iterator has to agree.
        """
        behind = answer.fetched.millis_behind
        up_to = answer.asked - timedelta(milliseconds=behind or 0)
        self.at_tip = behind == 0 if behind is not None else answer.found_nothing
        self._near_tip = self.at_tip or (behind is not None and behind < NEARLY_NOTHING)
        self._agreeing = self._near_tip + (0 if answer.fresh or not self._near_tip else self._agreeing)
        enough = AGREEING if behind is not None else AGREEING_WITHOUT_LAG
        checked = self.settled or self._agreeing >= enough
        self.settled = self._near_tip and answer.found_nothing and checked
        if self.settled or (answer.found_nothing and behind is not None and not self._context.polling.eager):
            self._reach(up_to)
        elif answer.arrived is not None:
            self._reach(min(answer.arrived - ARRIVAL_MARGIN, up_to))

    def _reach(self, instant: datetime) -> None:
        self.read_to = max(self.read_to, instant) if self.read_to else instant

    def _go_on(self, answer: Response, now: float) -> None:
        """Take the next iterator, or see whether the shard has ended where there is none.

        Raises:
            IncompleteResponse: it has not, as far as anybody can tell.
        """
        fetched = answer.fetched
        stuck = bool(fetched.records) and fetched.next_iterator == answer.iterator
        # The next answer, to a new iterator, has to agree.
        ask_anew = self._near_tip and not self.settled and self._context.polling.eager
        self._iterator = None if stuck or ask_anew else fetched.next_iterator
        seemed_ended, self._seems_ended = self._seems_ended, fetched.next_iterator is None and not answer.fresh
        if fetched.next_iterator is not None:
            if stuck and not answer.fresh:
                raise IncompleteResponse("GetRecords: the same records come again and again")
            return
        children = [self._own(child) for child in fetched.children if child.shard_id != self._lease.shard_id]
        if children or (seemed_ended and answer.proves_end and self._end.closed(now)):
            self.ended, self.children = True, children
        elif not answer.fresh:
            raise IncompleteResponse("GetRecords: no next iterator, yet nothing shows that the shard has ended")

    def _own(self, child: Shard) -> Shard:
        """A child as it was named, with this shard as its parent where no parent was named."""
        return child if child.parents else replace(child, parents=(self._lease.shard_id,))
