"""What the tests of the drivers share: a sink that fails when told to, and events."""

import json
from collections.abc import Iterable
from typing import Any

from consumer.pipeline.dead_letters import encode_dead_letter
from consumer.pipeline.pipeline import Pipeline
from consumer.records import BatchLimits
from consumer.sinks import Batch, Deduplication
from consumer.telemetry.metrics import Metrics

TYPE = "com.twilio.voice.api-request.call.created"


def event(number: int, event_type: str = TYPE) -> bytes:
    """A small event whose identity is its number."""
    data = {"sid": f"CA{number:032x}", "request": {"method": "POST"}}
    envelope = {"specversion": "1.0", "type": event_type, "source": "/calls", "id": f"EV{number}", "data": data}
    return json.dumps(envelope).encode()


class ListSink:
    """Keeps what is written, after raising what it was told to raise, one a write."""

    repeats = Deduplication.BY_ROW

    def __init__(self, *raises: Exception, limits: BatchLimits | None = None) -> None:
        self.limits = limits or BatchLimits()
        self.raises = list(raises)
        self.writes: list[list[dict[str, Any]]] = []

    def check(self) -> None:
        """It is always there."""

    def write(self, batch: Batch) -> int:
        if self.raises:
            raise self.raises.pop(0)
        self.writes.append([json.loads(item.line) for item in batch])
        return 0

    def holds(self, name: str) -> bool:
        """It keeps no names."""
        return False

    def close(self) -> None:
        """Nothing to close."""

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [line for write in self.writes for line in write]

    @property
    def ids(self) -> list[str]:
        return [line["event_id"] for line in self.lines]


def outlets(rows: ListSink, dead_letters: ListSink | None = None, limits: BatchLimits | None = None) -> Pipeline:
    """Pipeline into these sinks."""
    letters = dead_letters or ListSink()
    return Pipeline(rows, letters, limits or rows.limits, lambda letter: encode_dead_letter(letter, 1.7e9), Metrics())


def numbered(numbers: Iterable[int]) -> list[str]:
    """The ids of the events with these numbers."""
    return [f"EV{number}" for number in numbers]
