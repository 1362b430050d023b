"""Process one shard under the daemon: receive a message, do what it requests, send a status.

One thread does everything and reads nothing ahead. The daemon sends its next message only after the status of the last.
A failed write is retried before the status is sent, so no later record and no checkpoint can overtake it.
"""

import random
from collections import deque
from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Any

from consumer.decoding.decoder import Decoder
from consumer.errors import ConfigurationError, LeaseLost, OutputClosed, Retryable
from consumer.multilang.checkpointer import DaemonCheckpointer
from consumer.multilang.wire import DaemonRecord, Message, ProtocolError, Wire
from consumer.pipeline.intake import fill
from consumer.pipeline.pipeline import Pipeline
from consumer.process import Exit
from consumer.records import Decoded, Position, Shard, UserRecord
from consumer.runtime.backoff import Backoff, RetryPolicy
from consumer.runtime.clock import Clock
from consumer.telemetry.outages import Outages

# The daemon sets no deadline, so a sink that is down for long is asked about twice a minute.
RETRIES = RetryPolicy(first=0.2, most=30.0)
FOREVER = float("inf")


class RecordProcessor:
    """Process the records of one shard. `shutdown_timeout`: seconds to deliver the last batch when the daemon stops."""

    def __init__(
        self,
        wire: Wire,
        pipeline: Pipeline,
        decoder: Callable[[Shard], Decoder],
        clock: Clock,
        log: Any,
        shutdown_timeout: float = 25.0,
    ) -> None:
        self._wire, self._pipeline, self._decoder, self._clock = wire, pipeline, decoder, clock
        self._log, self._shutdown_timeout = log, shutdown_timeout
        self._outages = Outages(log, clock)
        self._checkpointer = DaemonCheckpointer(wire)
        self._judge = pipeline.judge()
        self._delivery = pipeline.delivery(self._checkpointer, judge=self._judge)
        self._start_shard(Shard(""))
        self._actions = {
            "initialize": self._initialize,
            "processRecords": self._process_records,
            "leaseLost": self._lease_lost,
            "shardEnded": self._shard_ended,
            "shutdownRequested": self._shutdown_requested,
        }

    def run(self) -> Exit:
        """Handle messages until the daemon closes the pipe. Return the exit code."""
        try:
            while (message := self._wire.read()) is not None:
                self._handle(message)
        except OutputClosed:
            self._log.warning("daemon.closed_pipe")
        except ProtocolError as error:
            self._log.error("daemon.protocol_error", error=str(error))
            return Exit.UNEXPECTED
        self._pipeline.flush_log()
        self._log.info("child.ended", undelivered=not self._buffer.empty, **self._pipeline.metrics.summary())
        return Exit.DONE if self._buffer.empty else Exit.NOT_DRAINED

    def _handle(self, message: Message) -> None:
        act = self._actions.get(message.action)
        if act is None:
            raise ProtocolError(f"the daemon sent the unknown action {message.action!r}")
        try:
            act(message)
        except LeaseLost:
            self._lease_lost(message)
        self._wire.send({"action": "status", "responseFor": message.action})

    # Actions ---------------------------------------------------------------------------------------------------------

    def _initialize(self, message: Message) -> None:
        self._log = self._log.bind(shard=message.shard_id)
        self._outages = Outages(self._log, self._clock)
        self._start_shard(Shard(message.shard_id or ""))
        self._retry(self._pipeline.check, FOREVER)
        self._log.info("child.started", after=f"{message.sequence_number}.{message.sub_sequence_number}")

    def _process_records(self, message: Message) -> None:
        if self._checkpointer.lost:
            return  # the daemon will send leaseLost
        waiting = deque(list(group) for _, group in groupby(message.records or (), lambda it: it.sequence_number))
        while waiting:
            self._retry(lambda: fill(self._buffer, self._decoded, waiting, self._clock()), FOREVER)
            if self._buffer.full():
                self._deliver(FOREVER)
        if self._buffer.ripe_in(self._clock()) <= 0:
            self._deliver(FOREVER)
        if message.millis_behind_latest is not None:
            self._pipeline.metrics.lag_reported(self._shard_id, message.millis_behind_latest / 1000)

    def _lease_lost(self, _message: Message) -> None:
        if not self._checkpointer.lost or not self._buffer.empty:
            self._log.info("lease.lost", dropped=not self._buffer.empty)
        self._checkpointer.lost = True
        self._renew_buffer()

    def _shard_ended(self, _message: Message) -> None:
        self._deliver(FOREVER)
        self._retry(self._checkpointer.end, FOREVER)
        self._log.info("shard.ended")

    def _shutdown_requested(self, _message: Message) -> None:
        if not self._checkpointer.lost and not self._deliver(self._clock() + self._shutdown_timeout):
            self._log.warning("batch.dropped", note="the next owner delivers it")
            self._renew_buffer()

    # Records and batches ---------------------------------------------------------------------------------------------

    def _start_shard(self, shard: Shard) -> None:
        self._shard_id = shard.shard_id
        self._decode = self._decoder(shard).user_records
        self._buffer = self._pipeline.buffer(shard.shard_id)

    def _renew_buffer(self) -> None:
        self._buffer.close()
        self._buffer = self._pipeline.buffer(self._shard_id)

    def _decoded(self, waiting: deque[list[DaemonRecord]], _after: Position, _rows: int) -> Iterable[Decoded]:
        """Decode one Kinesis record, of which all user records stay in one batch."""
        return self._judge.pieces(self._decode([_user_record(one) for one in waiting.popleft()]))

    def _deliver(self, give_up_at: float) -> bool:
        """Deliver and checkpoint the buffer. Return False if that failed until `give_up_at`."""
        if self._buffer.empty:
            return True
        batch = self._buffer.batch()
        done = self._retry(lambda: self._delivery.deliver(batch), give_up_at)
        if done:
            self._renew_buffer()
        return done

    def _retry(self, step: Callable[[], None], give_up_at: float) -> bool:
        """Call `step` until it succeeds. Return False if it fails until `give_up_at`.

        Raises:
            OutputClosed: the daemon closed the pipe.
            ConfigurationError, LeaseLost, ProtocolError: `step` raised them.
        """
        backoff = Backoff(RETRIES, random.Random())
        while True:
            try:
                step()
                self._outages.worked("shard")
                return True
            except (ConfigurationError, LeaseLost, OutputClosed, ProtocolError):
                raise
            except Retryable as error:
                delay = error.retry_after or backoff.next()
                self._outages.failed("shard.waiting", "shard", error, retry_in=round(delay, 2))
            except Exception as error:
                delay = backoff.next()
                self._outages.failed("shard.halted", "shard", error, "error", retry_in=round(delay, 2))
            if self._clock() + delay >= give_up_at:
                return False
            if self._wire.closes_within(delay):
                raise OutputClosed


def _user_record(record: DaemonRecord) -> UserRecord:
    return UserRecord(
        int(record.sequence_number),
        record.sub_sequence_number or 0,
        record.partition_key or "",
        (record.approximate_arrival_timestamp or 0) / 1000,
        record.data or b"",
    )
