"""Hold the CSV sink to the contract that `consumer.testing` ships: pip install -e '.[testing]' && pytest."""

import csv
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from consumer.adapters import connect_sink
from consumer.testing import ROWS, SinkContract, SinkPlace


class TestCsvSink(SinkContract):
    @pytest.fixture
    def place(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SinkPlace:
        @contextmanager
        def full_disk() -> Iterator[None]:
            def fail(_descriptor: int) -> None:
                raise OSError(28, "No space left on device")

            with monkeypatch.context() as patch:
                patch.setattr(os, "fsync", fail)
                yield

        def seen() -> list[int]:
            files = sorted(tmp_path.rglob("*.csv"))
            return [int(row["id"]) for file in files for row in csv.DictReader(file.read_text().splitlines())]

        return SinkPlace(lambda: connect_sink("--sink", f"csv:{tmp_path}", ROWS), seen, full_disk)
