"""Read one shard: open an iterator after the last fetched record, and request records as often as AWS allows.

The reader keeps records that are fetched and not decoded yet. The shard's consumer decides when to fetch.
"""

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from operator import ge

from consumer.errors import IncompleteResponse, PositionUnknown, ReadTimedOut, ShardGone
from consumer.leases import Lease
from consumer.records import TRIM_HORIZON, Fetched, Position, PositionKind, Record, Shard
from consumer.shard.context import ShardContext
from consumer.shard.read_size import MOST_RECORDS, ReadSize
from consumer.shard.shard_end import ShardEnd
from consumer.shard.tip import ReadResponse, Tip

# AWS: five GetRecords and 2 MB per second and shard, shared by all its readers.
# https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html
LEAST_INTERVAL = 0.2
BYTES_PER_SECOND = 2_000_000
# AWS: one response holds at most 10 MiB.
LARGEST_RESPONSE = 10 * 1024 * 1024
FIRST_ESTIMATE = 1024 * 1024
# While a response is parsed, its data is in memory as base64 in pieces, as one text, as JSON, and decoded.
COPIES_IN_FLIGHT = 4


class ShardReader:
    """The read position of one shard. `start`: the checkpoint, or the end of the last batch.

    `ended`: everything is fetched, and `children` follow. `tip`: up to which time everything is fetched. `backlog`:
    records to decode. `furthest`: the last sequence number ever fetched here.
    """

    def __init__(self, lease: Lease, context: ShardContext) -> None:
        self._lease, self._context = lease, context
        self._share = context.polling.share
        self.read_size = ReadSize(self._share)
        self._end = ShardEnd(lease, context.stream)
        self.tip = Tip(context.polling.eager)
        self._estimate = FIRST_ESTIMATE
        self._asked_at = float("-inf")
        self._pause = LEAST_INTERVAL / self._share  # seconds from the last request to the next
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
        self.ended = False
        self.tip.restart()
        self._seems_ended = False  # the last response had no new records and no next iterator
        self.children: Sequence[Shard] = ()

    def go_back_to(self, last: Position | None) -> None:
        """Drop what was fetched after `last`, the last decoded record (None: no record is decoded)."""
        self.start_from(self.start)
        self._fetched = last.sequence if last else None

    def reopen(self) -> None:
        """Open a new iterator for the next read."""
        self._iterator = None

    def wait(self, now: float) -> float:
        """Return the seconds until AWS, or the share of its limits, allows the next read; 0 or less means now."""
        return self._asked_at + self._pause - now

    @property
    def next_read(self) -> float:
        """Return the seconds until the next read: 0 while there is more to read or to decode."""
        polling = self._context.polling
        more = self.backlog or self.ended or not self.tip.at_tip or (polling.eager and not self.tip.settled)
        return 0.0 if more else polling.poll_interval

    @property
    def need(self) -> int:
        """Return the bytes of memory that the next response will need, estimated from the last one."""
        return COPIES_IN_FLIGHT * self._estimate

    @property
    def size(self) -> int:
        """Return the bytes of memory that the backlog holds."""
        return sum(len(record.data) for record in self.backlog)

    def has_read_past(self, checkpoint: Position) -> bool:
        """Return whether records after `checkpoint`, which may stand before a record, were ever fetched here."""
        return self.furthest > 0 and Position.of(self.furthest) > checkpoint

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
        self.tip.judge(response)
        self._advance(response, now)
        return response.fetched

    @contextmanager
    def under_way(self) -> Iterator[bool]:
        """Yield whether another thread waits for a response. If so, it does not continue before this context ends."""
        with self._lock:
            yield self._under_way

    def _read(self, now: float) -> ReadResponse:
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
            return ReadResponse(fetched, self._fresh(fetched.records), iterator, asked, limit, seconds)
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

    def _keep(self, response: ReadResponse) -> None:
        fetched, fresh = response.fetched, response.fresh
        self.read_size.responded(len(fetched.records), fetched.size, response.seconds)
        if self._share < 1:  # with the whole budget, AWS throttles by itself
            self._pause = max(LEAST_INTERVAL, fetched.size / BYTES_PER_SECOND) / self._share
        if fresh:
            self.backlog.extend(fresh)
            self._fetched = fresh[-1].sequence
            self.furthest = max(self.furthest, self._fetched)
            self._estimate = min(LARGEST_RESPONSE, max(fetched.size, 1))

    def _advance(self, response: ReadResponse, now: float) -> None:
        """Take the next iterator, or decide whether the shard has ended if there is none.

        Raises:
            IncompleteResponse: there is none, and nothing proves that the shard has ended.
        """
        fetched = response.fetched
        stuck = bool(fetched.records) and fetched.next_iterator == response.iterator
        self._iterator = None if stuck or self.tip.is_unconfirmed else fetched.next_iterator
        seemed_ended, self._seems_ended = self._seems_ended, fetched.next_iterator is None and not response.fresh
        if fetched.next_iterator is not None:
            if stuck and not response.fresh:
                raise IncompleteResponse("GetRecords: the service returns the same records for the same iterator")
            return
        children = [self._own(child) for child in fetched.children if child.shard_id != self._lease.shard_id]
        if children or (seemed_ended and response.proves_end and self._end.closed(now)):
            self.ended, self.children = True, children
        elif not response.fresh:
            raise IncompleteResponse("GetRecords: no next iterator, but no proof that the shard has ended")

    def _own(self, child: Shard) -> Shard:
        """Return a child with this shard as its parent if the response named no parent."""
        return child if child.parents else replace(child, parents=(self._lease.shard_id,))
