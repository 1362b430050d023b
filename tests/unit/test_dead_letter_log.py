"""What the log says of dead letters."""

from typing import Any

import structlog

from consumer.records import DeadLetter, EventLocation, Reason
from consumer.telemetry.dead_letter_log import INTERVAL, DeadLetterLog
from tests.unit.clocks import FakeClock


class Scene:
    """The lines, and a clock."""

    def __init__(self) -> None:
        self.clock, self.lines = FakeClock(), []  # type: ignore[var-annotated]
        self.log = DeadLetterLog(structlog.wrap_logger(None, processors=[self._keep]), self.clock)

    def _keep(self, _logger: object, level: str, fields: Any) -> Any:
        self.lines.append({**fields, "level": level})
        raise structlog.DropEvent

    def refuse(self, sequence: int, reason: Reason = Reason.NOT_JSON) -> None:
        place = EventLocation("calls", "shardId-1", sequence, 3, 2, "+15551234567", 1.7e9)
        self.log.note(DeadLetter(reason, "not JSON", place, b"secret +15557654321"))


def test_the_first_of_a_reason_is_told_at_once_with_its_location_and_no_value() -> None:
    """So that it can be found on the stream."""
    scene = Scene()
    scene.refuse(7)
    assert scene.lines == [
        {
            "event": "dead_letters",
            "level": "warning",
            "reason": "not-json",
            "letters": 1,
            "message": "not JSON",
            "shard": "shardId-1",
            "sequence": "7",
            "sub_sequence": 3,
            "index": 2,
        }
    ]


def test_more_of_them_are_one_line_a_minute_with_a_count() -> None:
    """With where the first of them is."""
    scene = Scene()
    for number in range(385):
        scene.refuse(number)
        scene.clock.advance(INTERVAL / 64)
        scene.log.step(scene.clock())
    assert [line["letters"] for line in scene.lines] == [1, 63] + [64] * 5
    assert [line["sequence"] for line in scene.lines[:3]] == ["0", "1", "64"]


def test_each_reason_has_a_line_of_its_own() -> None:
    """A flood of one does not hide another."""
    scene = Scene()
    for number in range(5):
        scene.refuse(number)
        scene.refuse(number, Reason.SINK_REJECTED)
    assert [line["reason"] for line in scene.lines] == ["not-json", "sink-rejected"]


def test_what_has_gathered_is_told_though_no_more_come() -> None:
    """After a minute, or at the end."""
    scene = Scene()
    for number in range(5):
        scene.refuse(number)
    scene.log.step(scene.clock())
    assert len(scene.lines) == 1
    scene.clock.advance(INTERVAL)
    scene.log.step(scene.clock())
    assert [line["letters"] for line in scene.lines] == [1, 4]
    scene.refuse(9)
    scene.log.tell()
    scene.log.tell()
    assert [line["letters"] for line in scene.lines] == [1, 4, 1]
