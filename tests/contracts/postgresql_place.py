"""Provide the PostgreSQL sink: places in a schema that only one test uses, and batches of call requests."""

import itertools
import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

from consumer.adapters import DEAD_LETTER_KEY, ROW_KEY
from consumer.aws.access import Accesses
from consumer.cli.samples import numbered
from consumer.decoding.decoder import Decoder
from consumer.records import TRIM_HORIZON, Block, Record, Shard
from consumer.sinks import Sink, SinkSchema, postgresql
from consumer.testing import ROWS, SinkPlace
from consumer.urls import options_of, parse
from schemas.call_request import CallRequest
from schemas.dead_letter import DeadLetter
from tests.contracts.places import OPEN
from tests.servers.postgresql import PostgreSql

CALLS = SinkSchema("call_requests", tuple(CallRequest.__annotations__), ROW_KEY, timeout=2.0)
LETTERS = SinkSchema("dead_letters", tuple(DeadLetter.__annotations__), DEAD_LETTER_KEY, private=True, timeout=2.0)
NUMBERS = itertools.count(1)
PER_BLOCK = 64


@dataclass
class Place:
    """A schema of one test on a server. `host` may be that of a proxy."""

    server: PostgreSql
    host: str = ""
    namespace: str = field(default_factory=lambda: f"test_{next(NUMBERS)}")

    def url(self, options: str = "", user: str = "admin") -> str:
        """Return the URL of a sink, with more options."""
        return f"postgresql://{user}@{self.host or self.server.address}/postgres?schema={self.namespace}{options}"

    def open(self, contents: SinkSchema = CALLS, options: str = "", user: str = "admin") -> Sink:
        """Return a sink as a new process would open it; `check` is not called yet."""
        url = parse("--sink", self.url(options, user))
        sink = postgresql.connect(url, options_of(url, postgresql.Options), contents, Accesses())
        OPEN.append(sink)
        return sink

    def opened(self, contents: SinkSchema = CALLS, options: str = "", user: str = "admin") -> Sink:
        """Return a sink that is checked."""
        sink = self.open(contents, options, user)
        sink.check()
        return sink

    def run(self, statement: str, *values: Any) -> list[Any]:
        """Run statements in the test's schema, and return the rows of the last one."""
        import psycopg

        with psycopg.connect(self.server.url(), autocommit=True) as connection:
            connection.execute(f"SET search_path = {self.namespace}, public")
            cursor = connection.execute(statement, values or None)
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []

    def ids(self) -> list[Any]:
        """Return the keys of the contract's rows, in the order in which they are stored."""
        return [number for (number,) in self.run("SELECT id FROM things ORDER BY ctid")]

    def contract(self, trouble: Any = None, options: str = "", user: str = "admin") -> SinkPlace:
        """Return the place of the contract suite."""
        return SinkPlace(partial(self.open, ROWS, options, user), self.ids, trouble, unstorable=float("inf"))


@dataclass
class Lines:
    """Rows given as lines, in blocks of `PER_BLOCK`. `between` is called before the 11th block."""

    lines: Sequence[bytes]
    between: Callable[[], object] = lambda: None
    name: str = "dt=2026-01-01/hour=00/shard-1-2"

    def __len__(self) -> int:
        return len(self.lines)

    def __iter__(self) -> Iterator[Block]:
        for start in range(0, len(self.lines), PER_BLOCK):
            if start == 10 * PER_BLOCK:
                self.between()
            part = self.lines[start : start + PER_BLOCK]
            yield Block(b"".join(line + b"\n" for line in part), len(part))


@cache
def calls(count: int, first: int = 0) -> tuple[bytes, ...]:
    """Return the lines of so many call requests. Their ids contain the numbers from `first` on."""
    decode = Decoder("stream", Shard("shardId-000000000000"))
    records = deque(
        Record(10**50 + n, "key", 1_770_000_000.0 + n, data) for n, data in enumerate(numbered(count, first))
    )
    lines: list[bytes] = []
    while records:
        for done in decode(records, TRIM_HORIZON, PER_BLOCK):
            lines += done.block.lines.splitlines()
    return tuple(lines)


def changed(line: bytes, **values: Any) -> bytes:
    """Return a line with other values."""
    return json.dumps(json.loads(line) | values, ensure_ascii=False, separators=(",", ":")).encode()


def letter(number: int, **values: Any) -> bytes:
    """Return the line of a dead letter."""
    row = dict.fromkeys(LETTERS.fields, "x") | {"sub_sequence_number": number, "event_index": 0}
    times = {"arrived_at": "2026-01-01T00:00:00.000Z", "rejected_at": "2026-01-01T00:00:00.000Z"}
    return json.dumps(row | times | values).encode()
