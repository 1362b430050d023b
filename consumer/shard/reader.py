"""Read one shard: open an iterator after the last fetched record, and request records as often as AWS allows.

The reader keeps records that are fetched and not decoded yet. The shard's consumer decides when to fetch.
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

# AWS: five GetRecords per second and shard, shared by all its readers.
# https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html
LEAST_INTERVAL = 0.2
# AWS: one response holds at most 10 MiB.
LARGEST_RESPONSE = 10 * 1024 * 1024
FIRST_ESTIMATE = 1024 * 1024
# While a response is parsed, its data is in memory as base64 in pieces, as one text, as JSON, and decoded.
COPIES_IN_FLIGHT = 4
# Records of the same millisecond may follow in the next response, and clocks are compared in whole seconds.
ARRIVAL_MARGIN = timedelta(seconds=1)
# Responses in a row without new records until a run with --until-caught-up takes the tip as reached. Emulators compute
# the distance from the tip in different ways, so one is not enough; more are needed where it is missing.
AGREEING, AGREEING_WITHOUT_LAG = 2, 5
NEAR_TIP = 1000  # milliseconds from the tip; some emulators always report this much


@dataclass(frozen=True, slots=True)
class Response:
    """A response of GetRecords with its new records (`fresh`), its request (iterator, time, limit) and its seconds."""

    fetched: Fetched
    fresh: Sequence[Record]
    iterator: str
    asked: datetime
    limit: int
    seconds: float

    @property
    def found_nothing(self) -> bool:
        """Return whether no new record came although there was room. A new iterator repeats the last record."""
        return not self.fresh and len(self.fetched.records) < self.limit

    @property
    def proves_end(self) -> bool:
        """Return whether, as far as one response can show it, no record follows the last one."""
        return self.found_nothing and self.fetched.millis_behind == 0

    @property
    def arrived(self) -> datetime | None:
        """Return when the last new record arrived, or None if that is unknown."""
        last = self.fresh[-1].arrived_at if self.fresh else 0.0
        return datetime.fromtimestamp(last, UTC) if last else None


class ShardReader:
    """The read position of one shard. `start`: the checkpoint, or the end of the last batch.

    `ended`: everything is fetched, and `children` follow. `at_tip`: the stream reports no more records; `settled`:
    further responses agreed. `read_to`: all records that arrived before this time are fetched. `backlog`: records to
    decode. `furthest`: the last sequence number ever fetched here.
    """

    def __init__(self, lease: Lease, context: ShardContext) -> None:
        self._lease, self._context = lease, context
        self.read_size = ReadSize()
        self._end = ShardEnd(lease, context.stream)
        self._estimate = FIRST_ESTIMATE
        self._asked_at = float("-inf")
        self._lock, self._under_way = threading.Lock(), False
        self._unknown = False  # the last response said that the shard does not exist
        self.furthest = 0
        self.start_from(lease.start)

    def start_from(self, start: Position) -> None:
        """Drop what was fetched, and continue after `start`."""
        self.start = start
        self.backlog: deque[Record] = deque()
        self._fetched: int | None = None  # the last sequence number fetched
        self._iterator: str | None = None
        self.ended, self.at_tip, self.settled = False, False, False
        self._near_tip, self._agreeing = False, 0
        self._seems_ended = False  # the last response had no new records and no next iterator
        self.children: Sequence[Shard] = ()
        self.read_to: datetime | None = None

    def go_back_to(self, last: Position | None) -> None:
        """Drop what was fetched after `last`, the last decoded record (None: no record is decoded)."""
        self.start_from(self.start)
        self._fetched = last.sequence if last else None

    def reopen(self) -> None:
        """Open a new iterator for the next read."""
        self._iterator = None

    def wait(self, now: float) -> float:
        """Return the seconds until AWS allows the next read; 0 or less means now."""
        return self._asked_at + LEAST_INTERVAL - now

    @property
    def need(self) -> int:
        """Return the bytes of memory that the next response will need, estimated from the last one."""
        return COPIES_IN_FLIGHT * self._estimate

    @property
    def size(self) -> int:
        """Return the bytes of memory that the backlog holds."""
        return sum(len(record.data) for record in self.backlog)

    def fetch(self, now: float) -> Fetched | None:
        """Fetch the next records into the backlog; return None if the stream no longer has the shard, which ends it.

        Raises:
            Retryable: try again; after `IteratorExpired` call `reopen` first.
        """
        self._asked_at = now
        try:
            response = self._read(now)
        except ShardGone:
            self._iterator, self._unknown = None, True
            self._end.gone(now)
            self.ended = True
            return None
        except (IncompleteResponse, ReadTimedOut):
            self._iterator = None
            self.read_size.timed_out()
            raise
        self._end.found()
        self._keep(response)
        self._judge_tip(response)
        self._advance(response, now)
        return response.fetched

    @contextmanager
    def under_way(self) -> Iterator[bool]:
        """Yield whether another thread waits for a response. If so, it does not continue before this context ends."""
        with self._lock:
            yield self._under_way

    def _read(self, now: float) -> Response:
        """Request the next records."""
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
        """Open an iterator at the last fetched record, or at the trim horizon if the stream rejects that record.

        Nothing is lost or repeated: records that were fetched or delivered before are left out.
        """
        after = self.start if self._fetched is None else Position.of(self._fetched)
        try:
            return self._context.stream.open(self._lease.shard_id, after)
        except PositionUnknown:
            if after.kind is not PositionKind.SEQUENCE:
                raise
            self._end.check_stream(now)  # another stream of this name would also reject it
            return self._context.stream.open(self._lease.shard_id, TRIM_HORIZON)

    def _fresh(self, records: Sequence[Record]) -> Sequence[Record]:
        """Return the records that were not fetched before, sorted by sequence number and without repeats."""
        last = self._fetched
        fresh = records if last is None else [record for record in records if record.sequence > last]
        numbers = [record.sequence for record in fresh]
        if any(map(ge, numbers, numbers[1:])):
            return sorted({record.sequence: record for record in fresh}.values(), key=lambda record: record.sequence)
        return fresh

    def _keep(self, response: Response) -> None:
        fetched, fresh = response.fetched, response.fresh
        self.read_size.responded(len(fetched.records), fetched.size, response.seconds)
        if fresh:
            self.backlog.extend(fresh)
            self._fetched = fresh[-1].sequence
            self.furthest = max(self.furthest, self._fetched)
            self._estimate = min(LARGEST_RESPONSE, max(fetched.size, 1))

    def _judge_tip(self, response: Response) -> None:
        """Decide up to which time the shard is read, however the stream computes the distance from the tip.

        A response with records only shows when they arrived. One without shows that everything is read. In a run with
        --until-caught-up, a new iterator has to confirm that.
        """
        behind = response.fetched.millis_behind
        up_to = response.asked - timedelta(milliseconds=behind or 0)
        self.at_tip = behind == 0 if behind is not None else response.found_nothing
        self._near_tip = self.at_tip or (behind is not None and behind < NEAR_TIP)
        self._agreeing = self._near_tip + (0 if response.fresh or not self._near_tip else self._agreeing)
        enough = AGREEING if behind is not None else AGREEING_WITHOUT_LAG
        checked = self.settled or self._agreeing >= enough
        self.settled = self._near_tip and response.found_nothing and checked
        if self.settled or (response.found_nothing and behind is not None and not self._context.polling.eager):
            self._reach(up_to)
        elif response.arrived is not None:
            self._reach(min(response.arrived - ARRIVAL_MARGIN, up_to))

    def _reach(self, instant: datetime) -> None:
        self.read_to = max(self.read_to, instant) if self.read_to else instant

    def _advance(self, response: Response, now: float) -> None:
        """Take the next iterator, or decide whether the shard has ended if there is none.

        Raises:
            IncompleteResponse: there is none, and nothing proves that the shard has ended.
        """
        fetched = response.fetched
        stuck = bool(fetched.records) and fetched.next_iterator == response.iterator
        # The next response, to a new iterator, has to agree.
        ask_anew = self._near_tip and not self.settled and self._context.polling.eager
        self._iterator = None if stuck or ask_anew else fetched.next_iterator
        seemed_ended, self._seems_ended = self._seems_ended, fetched.next_iterator is None and not response.fresh
        if fetched.next_iterator is not None:
            if stuck and not response.fresh:
                raise IncompleteResponse("GetRecords: the same records come again and again")
            return
        children = [self._own(child) for child in fetched.children if child.shard_id != self._lease.shard_id]
        if children or (seemed_ended and response.proves_end and self._end.closed(now)):
            self.ended, self.children = True, children
        elif not response.fresh:
            raise IncompleteResponse("GetRecords: no next iterator, yet nothing shows that the shard has ended")

    def _own(self, child: Shard) -> Shard:
        """Return a child with this shard as its parent if the response named no parent."""
        return child if child.parents else replace(child, parents=(self._lease.shard_id,))
