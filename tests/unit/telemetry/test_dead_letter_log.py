"""Log dead letters once per reason and minute."""

from typing import Any

import structlog

from consumer.records import DeadLetter, EventLocation, Reason
from consumer.telemetry.dead_letter_log import INTERVAL, DeadLetterLog
from tests.unit.clocks import FakeClock


class Scene:
    """A dead letter log with a fake clock, and the lines that it writes."""

    def __init__(self) -> None:
        self.clock, self.lines = FakeClock(), []  # type: ignore[var-annotated]
        self.log = DeadLetterLog(structlog.wrap_logger(None, processors=[self._keep]), self.clock)

    def _keep(self, _logger: object, level: str, fields: Any) -> Any:
        self.lines.append({**fields, "level": level})
        raise structlog.DropEvent

    def refuse(self, sequence: int, reason: Reason = Reason.NOT_JSON) -> None:
        place = EventLocation("calls", "shardId-1", sequence, 3, 2, "+15551234567", 1.7e9)
        self.log.note(DeadLetter(reason, "not JSON", place, b"secret +15557654321"))


def test_the_first_dead_letter_of_a_reason_is_logged_with_its_location() -> None:
    """The line contains no value of the event."""
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


def test_further_dead_letters_make_one_line_a_minute_with_a_count() -> None:
    """The line has the location of the first of them."""
    scene = Scene()
    for number in range(385):
        scene.refuse(number)
        scene.clock.advance(INTERVAL / 64)
        scene.log.step(scene.clock())
    assert [line["letters"] for line in scene.lines] == [1, 63] + [64] * 5
    assert [line["sequence"] for line in scene.lines[:3]] == ["0", "1", "64"]


def test_each_reason_has_its_own_line() -> None:
    """A flood for one reason does not hide another reason."""
    scene = Scene()
    for number in range(5):
        scene.refuse(number)
        scene.refuse(number, Reason.SINK_REJECTED)
    assert [line["reason"] for line in scene.lines] == ["not-json", "sink-rejected"]


def test_counted_dead_letters_are_logged_though_no_more_arrive() -> None:
    """They are logged after a minute, or at the end of the process."""
    scene = Scene()
    for number in range(5):
        scene.refuse(number)
    scene.log.step(scene.clock())
    assert len(scene.lines) == 1
    scene.clock.advance(INTERVAL)
    scene.log.step(scene.clock())
    assert [line["letters"] for line in scene.lines] == [1, 4]
    scene.refuse(9)
    scene.log.flush()
    scene.log.flush()
    assert [line["letters"] for line in scene.lines] == [1, 4, 1]
