"""One shard under the daemon: a message in, what it asks for done, a status out.

Nothing is read ahead and there is one thread: the daemon sends the next message when it has the status of the last.
A sink that fails is tried again before the status is sent, so no later record and no checkpoint can pass.
"""

import random
from collections import deque
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any

from consumer.decoding.decoder import Decoder, Processed
from consumer.errors import ConfigurationError, LeaseLost, OutputClosed, Retryable
from consumer.multilang.checkpointer import DaemonCheckpointer
from consumer.multilang.wire import Message, Part, ProtocolError, Wire
from consumer.pipeline.pipeline import Pipeline
from consumer.process import Exit
from consumer.records import Position, Record, Shard, UserRecord
from consumer.runtime.backoff import Backoff
from consumer.runtime.clock import Clock
from consumer.telemetry.outages import Outages

FIRST_BACKOFF = 0.2
MOST_BACKOFF = 30.0
FOREVER = float("inf")


class RecordProcessor:
    """The record processor of one shard. `patience`: seconds to deliver the rest in when the daemon stops."""

    def __init__(
        self,
        wire: Wire,
        outlets: Pipeline,
        decoder: Callable[[Shard], Decoder],
        clock: Clock,
        log: Any,
        patience: float = 25.0,
    ) -> None:
        self._wire, self._outlets, self._decoder, self._clock = wire, outlets, decoder, clock
        self._log, self._patience = log, patience
        self._outages = Outages(log, clock)
        self._checkpointer = DaemonCheckpointer(wire)
        self._intake, self._delivery = outlets.intake(), outlets.delivery(self._checkpointer)
        self._begin(Shard(""))
        self._actions = {
            "initialize": self._initialize,
            "processRecords": self._process_records,
            "leaseLost": self._lease_lost,
            "shardEnded": self._shard_ended,
            "shutdownRequested": self._shutdown_requested,
        }

    def run(self) -> Exit:
        """Serve the daemon until it closes the pipe."""
        try:
            while (message := self._wire.read()) is not None:
                self._answer(message)
        except OutputClosed:
            self._log.warning("daemon.gone")
        except ProtocolError as error:
            self._log.error("daemon.refused", error=str(error))
            return Exit.UNEXPECTED
        self._outlets.tell()
        self._log.info("child.ended", undelivered=not self._buffer.empty, **self._outlets.metrics.summary())
        return Exit.DONE if self._buffer.empty else Exit.NOT_DRAINED

    def _answer(self, message: Message) -> None:
        act = self._actions.get(message.action)
        if act is None:
            raise ProtocolError(f"the daemon asks for {message.action!r}")
        try:
            act(message)
        except LeaseLost:
            self._lease_lost(message)
        self._wire.send({"action": "status", "responseFor": message.action})

    # What the daemon asks for ----------------------------------------------------------------------------------------

    def _initialize(self, message: Message) -> None:
        self._log = self._log.bind(shard=message.shard_id)
        self._outages = Outages(self._log, self._clock)
        self._begin(Shard(message.shard_id or ""))
        self._until_done(self._outlets.check, FOREVER)
        self._log.info("child.started", after=f"{message.sequence_number}.{message.sub_sequence_number}")

    def _process_records(self, message: Message) -> None:
        if self._checkpointer.lost:
            return  # the daemon finds out and says so
        waiting = deque(list(group) for _, group in groupby(message.records or (), lambda it: it.sequence_number))
        while waiting:
            self._intake.take(self._buffer, self._decoded(waiting), self._clock())
            if self._buffer.full():
                self._deliver(FOREVER)
        if self._buffer.ripe_in(self._clock()) <= 0:
            self._deliver(FOREVER)
        if message.millis_behind_latest is not None:
            self._outlets.metrics.behind(self._shard_id, message.millis_behind_latest / 1000)

    def _lease_lost(self, _message: Message) -> None:
        if not self._checkpointer.lost or not self._buffer.empty:
            self._log.info("lease.lost", dropped=not self._buffer.empty)
        self._checkpointer.lost = True
        self._empty()

    def _shard_ended(self, _message: Message) -> None:
        self._deliver(FOREVER)
        self._until_done(self._checkpointer.end, FOREVER)
        self._log.info("shard.ended")

    def _shutdown_requested(self, _message: Message) -> None:
        if not self._checkpointer.lost and not self._deliver(self._clock() + self._patience):
            self._log.warning("batch.dropped", note="delivered again by the next owner")
            self._empty()

    # Records in, batches out -----------------------------------------------------------------------------------------

    def _begin(self, shard: Shard) -> None:
        self._shard_id = shard.shard_id
        self._decode = self._decoder(shard).decode
        self._buffer = self._outlets.buffer(shard.shard_id)

    def _empty(self) -> None:
        self._buffer.close()
        self._buffer = self._outlets.buffer(self._shard_id)

    def _decoded(self, waiting: deque[list[Part]]) -> Iterator[tuple[Record, Processed]]:
        """Decode until the buffer is full; a batch ends behind all user records of a Kinesis record."""
        while waiting and not self._buffer.full():
            parts = [_user_record(part) for part in waiting.popleft()]
            outcomes = (outcome for part in parts for outcome in self._decode(part))  # one at a time in memory
            last = parts[-1]
            record = Record(last.sequence, last.partition_key, last.arrived_at, b"")
            yield record, Processed(outcomes, len(parts), 0, Position.of(last.sequence, last.sub_sequence))

    def _deliver(self, give_up_at: float) -> bool:
        """Deliver and checkpoint what is buffered; False when it could not be done in time."""
        if self._buffer.empty:
            return True
        batch = self._buffer.batch()
        done = self._until_done(lambda: self._delivery.deliver(batch), give_up_at)
        if done:
            self._empty()
        return done

    def _until_done(self, step: Callable[[], None], give_up_at: float) -> bool:
        """Try until it works; False when it has not by then. The daemon's leaving ends it, by `OutputClosed`."""
        backoff = Backoff(FIRST_BACKOFF, MOST_BACKOFF, random.Random())
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


def _user_record(part: Part) -> UserRecord:
    return UserRecord(
        int(part.sequence_number),
        part.sub_sequence_number or 0,
        part.partition_key or "",
        (part.approximate_arrival_timestamp or 0) / 1000,
        part.data or b"",
    )
