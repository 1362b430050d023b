"""A stream that reports failed calls."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from consumer.errors import ConsumerError
from consumer.records import Fetched, Position, Shard, StreamSummary
from consumer.streams import Stream


class MeasuredStream:
    """Delegate to `stream`. Call `report` with the AWS action of each failed call and its error code."""

    def __init__(self, stream: Stream, report: Callable[[str, str], None]) -> None:
        self._stream, self._report = stream, report
        self.close = stream.close

    def summary(self) -> StreamSummary:
        with self._reporting("DescribeStreamSummary"):
            return self._stream.summary()

    def shards(self) -> Sequence[Shard]:
        with self._reporting("ListShards"):
            return self._stream.shards()

    def open(self, shard_id: str, position: Position) -> str:
        with self._reporting("GetShardIterator"):
            return self._stream.open(shard_id, position)

    def fetch(self, iterator: str, limit: int, patient: bool = False) -> Fetched:
        with self._reporting("GetRecords"):
            return self._stream.fetch(iterator, limit, patient)

    @contextmanager
    def _reporting(self, call: str) -> Iterator[None]:
        try:
            yield
        except ConsumerError as error:
            self._report(call, error.code or type(error).__name__)
            raise
