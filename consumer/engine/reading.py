"""Where one shard is read: an iterator that is opened where it has to go on, asked no oftener than AWS allows.

It keeps what is fetched and not decoded yet. What becomes of that, and when the next answer is due, is for the shard's
consumer to say.
"""

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

from consumer.engine.surroundings import Surroundings
from consumer.errors import ShardGone, StreamUnavailable
from consumer.leases import Lease
from consumer.records import Fetched, Position, Record, Shard

# AWS: five GetRecords a second and shard, shared by all who read it.
# https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html
LEAST_INTERVAL = 0.2
# AWS: one answer holds at most 10 MiB.
LARGEST_ANSWER = 10 * 1024 * 1024
FIRST_ESTIMATE = 1024 * 1024
# While an answer is read, each byte of data is there as JSON in base64, in pieces and put together, and decoded.
COPIES_IN_FLIGHT = 4


class Reading:
    """The reading of one shard from one checkpoint on. `start` is that checkpoint, or where the last batch ended.

    `ended`: the last answer is here, and names the `children`. `at_tip`: there was nothing more to fetch.
    `read_to`: everything that had arrived by then is fetched.
    """

    def __init__(self, lease: Lease, world: Surroundings) -> None:
        self._lease, self._world = lease, world
        self._estimate = FIRST_ESTIMATE
        self._asked_at = float("-inf")
        self._lock, self._under_way = threading.Lock(), False
        self.start_from(lease.start)

    def start_from(self, start: Position) -> None:
        """Forget what was fetched; go on behind `start`."""
        self.start = start
        self.backlog: deque[Record] = deque()
        self._fetched: int | None = None  # the last sequence number fetched
        self._iterator: str | None = None
        self.ended, self.at_tip = False, False
        self.children: Sequence[Shard] = ()
        self.read_to: datetime | None = None

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
            asked, fetched = self._read()
        except ShardGone:
            self._gone()
            return None
        self._iterator, self.ended = fetched.next_iterator, fetched.next_iterator is None
        self.children = fetched.children
        fresh = [record for record in fetched.records if self._fetched is None or record.sequence > self._fetched]
        if fresh:
            self.backlog.extend(fresh)
            self._fetched = fresh[-1].sequence
            self._estimate = min(LARGEST_ANSWER, max(fetched.size, 1))
        self.at_tip = fetched.millis_behind == 0
        self.read_to = asked - timedelta(milliseconds=fetched.millis_behind)
        return fetched

    @contextmanager
    def under_way(self) -> Iterator[bool]:
        """Is a request under way in another thread? If so it does not come back before this context ends."""
        with self._lock:
            yield self._under_way

    def _read(self) -> tuple[datetime, Fetched]:
        """The next answer, and what time it was when it was asked for."""
        self._under_way = True
        try:
            if self._iterator is None:
                after = self.start if self._fetched is None else Position.of(self._fetched)
                self._iterator = self._world.stream.open(self._lease.shard_id, after)
            return self._world.server_time(), self._world.stream.fetch(self._iterator)
        finally:
            with self._lock:
                self._under_way = False

    def _gone(self) -> None:
        """The stream does not know the shard: the end of it only if the stream is the one that the rows belong to.

        Raises:
            StreamUnavailable: it is another stream of that name, or it is not active.
        """
        summary = self._world.stream.summary()
        listed = any(shard.shard_id == self._lease.shard_id for shard in self._world.stream.shards())
        made = self._lease.stream_created_at
        if listed or not summary.active or (made is not None and made != summary.created_at):
            raise StreamUnavailable("the stream does not know a shard that it should have")
        self.ended = True
