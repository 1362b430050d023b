"""Provide a failing sink and events for tests of the pipeline's drivers."""

import json
from typing import Any

from consumer.pipeline.dead_letters import encode_dead_letter
from consumer.pipeline.pipeline import Pipeline
from consumer.records import BatchLimits
from consumer.sinks import Deduplication, Rows
from consumer.telemetry.metrics import Metrics


class ListSink:
    """A sink that keeps its rows, after raising the given errors, one per write."""

    repeats, rejects_rows = Deduplication.BY_ROW, True

    def __init__(self, *raises: Exception, limits: BatchLimits | None = None) -> None:
        self.limits = limits or BatchLimits()
        self.raises = list(raises)
        self.writes: list[list[dict[str, Any]]] = []

    def check(self) -> None:
        """Do nothing: the sink is always available."""

    def write(self, rows: Rows) -> int:
        if self.raises:
            raise self.raises.pop(0)
        self.writes.append([json.loads(line) for block in rows for line in block.lines.splitlines()])
        return 0

    def holds(self, name: str) -> bool:
        """Return False: the sink keeps no names of batches."""
        return False

    def close(self) -> None:
        """Do nothing."""

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [line for write in self.writes for line in write]

    @property
    def ids(self) -> list[str]:
        return [line["event_id"] for line in self.lines]


def pipeline_to(rows: ListSink, dead_letters: ListSink | None = None, limits: BatchLimits | None = None) -> Pipeline:
    """Return a pipeline to these sinks."""
    letters = dead_letters or ListSink()
    return Pipeline(rows, letters, limits or rows.limits, lambda letter: encode_dead_letter(letter, 1.7e9), Metrics())
