"""Halt a shard before a record that a policy rejects, and read on when an operator says so."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import structlog

from consumer.decoding.decoder import Decoder
from consumer.errors import LeaseTableUnavailable, RowsRejected
from consumer.leases import Change, Halt, Lease, LeaseTable, NextOwner, Pending, WorkerIdentity
from consumer.leases.lease import renewed, taken
from consumer.leases.memory import MemoryLeaseTable
from consumer.pipeline.dead_letters import encode_dead_letter
from consumer.pipeline.pipeline import Pipeline
from consumer.pipeline.rejections import BreakerLimits
from consumer.records import BatchLimits, Position, Reason
from consumer.rejection_policy import policies_of
from consumer.shard.consumer import ShardConsumer
from consumer.shard.held_lease import HeldLease
from consumer.streams.memory import MemoryStream
from consumer.telemetry.metrics import Metrics
from tests.events import event_ids, numbered_event
from tests.unit.clocks import FakeClock
from tests.unit.drivers import ListSink
from tests.unit.fakes import shard_context

ME = WorkerIdentity("me", "start")
BAD = b"no json"


class World:
    """One shard with its stream, lease and sinks. `start` begins a new worker process on it."""

    def __init__(self, policies: str, breaker: BreakerLimits | None = None) -> None:
        self.policies, self.breaker = policies_of(policies), breaker
        self.clock, self.log = FakeClock(), list[dict[str, Any]]()
        self.stream = MemoryStream("stream", clock=self.clock)
        [self.shard] = self.stream.shards()
        self.table = MemoryLeaseTable()
        self.table.create(Lease(self.shard.shard_id))
        self.rows, self.letters = ListSink(), ListSink()
        self.sequences: Sequence[int] = ()
        self.start()

    @property
    def lease(self) -> Lease:
        [lease] = self.table.scan()
        return lease

    def start(self, table: LeaseTable | None = None) -> None:
        """Take the lease as a new process."""
        self.metrics = Metrics()
        [written] = self.table.write([Change(self.lease, taken(self.lease, ME))])
        assert written.row is not None
        self.held_lease = HeldLease(table or self.table, written.row, ME, 1e9, self.clock).began(self.clock())
        context = shard_context(
            self.clock,
            stream=self.stream,
            pipeline=Pipeline(
                self.rows,
                self.letters,
                BatchLimits(rows=100, age=5.0),
                lambda letter: encode_dead_letter(letter, 0.0),
                self.metrics,
                policies=self.policies,
                breaker=self.breaker,
            ),
            decoder=lambda shard: Decoder("stream", shard),
            log=structlog.wrap_logger(None, processors=[self._note]),
        )
        self.consumer = ShardConsumer(self.held_lease, context, lambda *_: ())

    def _note(self, _logger: Any, _method: str, event: Any) -> Any:
        self.log.append(event)
        raise structlog.DropEvent

    def put(self, *data: bytes) -> Sequence[int]:
        """Put records on the shard. Return their sequence numbers."""
        return [self.stream.put(each) for each in data]

    def run(self, seconds: int = 30) -> None:
        """Step for a while, and renew the lease in between as the worker does."""
        until = self.clock() + seconds
        while self.clock() < until and not self.consumer.over:
            if (change := self.held_lease.begin_renewal()) is not None:
                [written] = self.table.write([change])
                self.held_lease.end_renewal(written, self.clock())
            self.clock.advance(max(0.3, self.consumer.step(self.clock()) or 0.0))

    def told(self, event: str) -> int:
        """Return how often an event was logged."""
        return sum(each["event"] == event for each in self.log)


def events(*numbers: int) -> list[bytes]:
    return [numbered_event(number) for number in numbers]


@pytest.fixture
def halted() -> World:
    """A shard whose third record is no JSON."""
    world = World("not-json=halt")
    world.sequences = world.put(*events(1, 2), BAD, *events(3))
    world.run()
    return world


def bad(world: World) -> int:
    """Return the sequence number of the record that halts the shard."""
    return world.sequences[2]


def test_everything_before_the_record_is_delivered_and_checkpointed(halted: World) -> None:
    """Nothing after it is. A log line and a metric tell, once."""
    assert halted.rows.ids == event_ids([1, 2])
    assert not halted.letters.lines
    assert halted.lease.checkpoint == Position.of(bad(halted) - 1)
    assert halted.lease.halted == Halt("not-json", bad(halted))
    assert halted.told("shard.halted") == 1
    assert halted.metrics.halted == {halted.shard.shard_id: 1}
    assert "halted by not-json" in halted.consumer.obstacle


def test_a_halt_survives_a_restart(halted: World) -> None:
    """Also with a policy that would not halt: an operator decides."""
    halted.policies = policies_of("")
    halted.start()
    halted.run()
    assert halted.rows.ids == event_ids([1, 2])
    assert halted.told("shard.halted") == 2


def test_a_resumed_shard_decodes_the_record_again(halted: World) -> None:
    """It halts again if nothing has changed. After an upgrade or with another policy it reads on."""
    halted.table.answer_halt(halted.lease, None)
    halted.run()
    assert halted.lease.halted == Halt("not-json", bad(halted))
    assert halted.told("shard.halted") == 2
    halted.policies = policies_of("not-json=drop")
    halted.start()
    halted.table.answer_halt(halted.lease, None)
    halted.run()
    assert halted.rows.ids == event_ids([1, 2, 3])
    assert not halted.letters.lines
    assert halted.metrics.dropped_events == {Reason.NOT_JSON: 1}
    assert halted.metrics.halted == {}


def test_a_skipped_record_becomes_a_dead_letter(halted: World) -> None:
    """Only that one: the next bad record halts the shard again."""
    another = halted.put(BAD, *events(4))[0]
    halted.table.answer_halt(halted.lease, Halt("not-json", bad(halted), skip=True))
    halted.run()
    assert halted.rows.ids == event_ids([1, 2, 3])
    assert [line["sequence_number"] for line in halted.letters.lines] == [str(bad(halted))]
    assert halted.lease.halted == Halt("not-json", another)


def test_a_checkpoint_that_was_moved_beyond_the_record_ends_the_halt(halted: World) -> None:
    """An operator may reset it, instead of skipping the record."""
    moved = replace(renewed(halted.lease, ME, None), checkpoint=Position.of(bad(halted)))
    halted.table.rewrite([Change(halted.lease, moved)])
    halted.start()
    halted.run()
    assert halted.rows.ids == event_ids([1, 2, 3])
    assert halted.lease.halted is None


def test_a_halted_shard_hands_its_lease_off(halted: World) -> None:
    """A drain does not wait for the operator, and the next owner stays halted."""
    halted.consumer.hand_off(NextOwner("peer"))
    halted.run(5)
    assert halted.consumer.over
    assert not halted.consumer.undelivered
    assert halted.lease.halted == Halt("not-json", bad(halted))


def test_a_halt_that_cannot_be_stored_is_stored_later() -> None:
    """Nothing after the record is delivered meanwhile."""
    world = World("not-json=halt")

    class Failing(MemoryLeaseTable):
        fails = True

        def write(self, changes: Any) -> Any:
            if self.fails and any(after.halted for _, after in changes):
                raise LeaseTableUnavailable
            return world.table.write(changes)

    table = Failing()
    world.start(table)
    world.put(*events(1), BAD, *events(2))
    world.run()
    assert world.lease.halted is None
    table.fails = False
    world.run()
    assert world.lease.halted is not None
    assert world.rows.ids == event_ids([1])


def test_a_record_of_a_prepared_batch_does_not_halt() -> None:
    """The batch has to end where it was prepared: its first part may be written."""
    world = World("not-json=halt")
    sequences = world.put(*events(1), BAD, *events(2))
    pending = Pending(Position.of(sequences[2]), "dt=2026-01-01/hour=00/name")
    [written] = world.table.write([Change(world.lease, replace(renewed(world.lease, ME, None), pending=pending))])
    assert written.done
    world.start()
    world.run()
    assert world.rows.ids == event_ids([1, 2])
    assert len(world.letters.lines) == 1


def test_a_row_that_the_sink_rejects_can_halt_the_shard() -> None:
    """What is before it is written again, which a sink that recognises rows absorbs."""
    world = World("sink-rejected=halt")
    world.rows.raises = [RowsRejected({1: "no"})]
    sequences = world.put(*events(1, 2, 3))
    world.run()
    assert world.rows.ids == event_ids([1])
    assert world.lease.checkpoint == Position.of(sequences[0])
    assert world.lease.halted == Halt("sink-rejected", sequences[1])


def test_a_rejected_row_can_be_dropped() -> None:
    """It is counted; no dead letter is written."""
    world = World("sink-rejected=drop")
    world.rows.raises = [RowsRejected({1: "no"})]
    world.put(*events(1, 2, 3))
    world.run()
    assert world.metrics.dropped_events == {Reason.SINK_REJECTED: 1}
    assert not world.letters.lines
    assert world.lease.checkpoint.sequence


def test_the_breaker_halts_when_too_many_events_are_rejected() -> None:
    """A few do not: the cause is then in the events."""
    world = World("", BreakerLimits(0.5, minimum=10, window=60.0))
    world.put(*events(*range(6)), BAD, BAD, BAD)
    world.run()
    assert world.lease.halted is None
    assert len(world.letters.lines) == 3
    world.put(*[BAD] * 20)
    world.run()
    assert world.lease.halted is not None
    assert world.lease.halted.reason == "share"
    written = len(world.letters.lines)
    world.clock.advance(120.0)
    world.table.answer_halt(world.lease, replace_skip(world.lease))
    world.run()
    assert len(world.letters.lines) > written, "a skipped record becomes a dead letter"


def replace_skip(lease: Lease) -> Halt:
    assert lease.halted is not None
    return lease.halted._replace(skip=True)


@pytest.mark.parametrize("text", ["not-json", "not-json=stop", "bad=halt", "not-json=halt,not-json=drop", "=halt"])
def test_a_wrong_policy_is_named_with_a_correct_form(text: str) -> None:
    """The message becomes one line on stderr."""
    with pytest.raises(ValueError, match=r"say REASON=|given twice"):
        policies_of(text)


def test_a_named_reason_wins_over_all() -> None:
    """The order does not matter."""
    assert policies_of("not-json=drop, all=halt") == policies_of("all=halt,not-json=drop")
    assert policies_of("all=halt,not-json=drop")[Reason.NOT_JSON].value == "drop"
    assert policies_of("all=halt,not-json=drop")[Reason.INTERNAL_ERROR].value == "halt"
