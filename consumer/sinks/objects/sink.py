"""Write each batch as one object. The object's name tells whether the batch was written before.

An object is `dt=2026-11-24/hour=05/SHARD-FIRST-LAST.jsonl.gz` under the prefix. It is created whole by one request that
never overwrites. So each row exists exactly once, also if several workers write the same batch.
"""

from collections.abc import Mapping

from consumer.records import BatchLimits
from consumer.sinks import Deduplication, Rows
from consumer.sinks.objects.formats import Format
from consumer.sinks.objects.store import Store


class ObjectsSink:
    """One object per batch.

    `suffix` is that of the chosen format, and stored before a batch is written. If the format changes before the batch
    is checkpointed, the batch still gets the name, and so the format, that was stored. `payload`: bytes in memory while
    a batch is written, per byte of its rows.
    """

    # Readers of a lake pay per object, so objects are larger and older than the batches of other sinks.
    limits = BatchLimits(rows=100_000, bytes=32 * 1024 * 1024, age=60.0)
    repeats = Deduplication.BY_BATCH
    rejects_rows = False

    def __init__(self, store: Store, formats: Mapping[str, Format], suffix: str) -> None:
        self.store, self._formats, self.suffix = store, formats, suffix
        self.payload = formats[suffix].payload

    def check(self) -> None:
        self.store.check()

    def write(self, rows: Rows) -> int:
        name, chosen = self._object_of(rows.name)
        created = self.store.create(name, lambda out: chosen.write(rows, out))
        return 0 if created else len(rows)

    def _object_of(self, name: str) -> tuple[str, Format]:
        """Return name and format of a batch's object. The name of the batch may already end in a suffix."""
        for suffix, each in self._formats.items():
            if name.endswith(suffix):
                return name, each
        return f"{name}{self.suffix}", self._formats[self.suffix]

    def holds(self, name: str) -> bool:
        """Return whether the batch exists in any format."""
        return any(self.store.exists(f"{name}{suffix}") for suffix in self._formats)

    def close(self) -> None:
        """Do nothing: connections end with the process."""
