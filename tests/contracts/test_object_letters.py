"""Read dead letters that a worker wrote to a store of objects, and delete some."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from consumer.adapters import connect_dead_letters, connect_sink
from consumer.dead_letters import StoredDeadLetter
from consumer.dead_letters.stored import to_line
from consumer.errors import ConfigurationError
from consumer.records import Block
from consumer.sinks import SinkSchema
from tests.contracts.object_places import new_bucket, s3_client
from tests.contracts.places import OPEN
from tests.unit.dead_letters.letters import letter

SCHEMA = SinkSchema("dead_letters", StoredDeadLetter.__struct_fields__, (), private=True)


@pytest.fixture(params=["file:jsonl.gz", "s3:jsonl.gz", "s3:jsonl"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return a new, empty place."""
    scheme, _, form = request.param.partition(":")
    if scheme == "file":
        return f"file:{tmp_path}?format={form}"
    endpoint = request.getfixturevalue("moto_server")
    return f"s3://{new_bucket(s3_client(endpoint))}/letters?endpoint_url={endpoint}&format={form}"


class Letters:
    """One batch of dead letters."""

    def __init__(self, name: str, letters: Sequence[StoredDeadLetter]) -> None:
        self.name, self._letters = f"dt=2026-11-25/hour=10/{name}", letters

    def __len__(self) -> int:
        return len(self._letters)

    def __iter__(self) -> Iterator[Block]:
        return (Block(to_line(each) + b"\n", 1) for each in self._letters)


def put(url: str, *numbers: int) -> list[StoredDeadLetter]:
    """Write dead letters as the worker does; return them."""
    letters = [letter(number) for number in numbers]
    connect_sink("--dead-letters", url, SCHEMA).write(Letters(f"shard-{numbers[0]}", letters))
    return letters


def test_what_was_written_is_read_and_deleted(url: str) -> None:
    """Rows under the same prefix are ignored. An object of which nothing is left disappears."""
    written = [*put(url, 1, 2, 3), *put(url, 4, 5)]
    rows = SinkSchema("call_requests", ("id",), ("id",))
    connect_sink("--sink", url, rows).write(Letters("rows", written))
    told: list[str] = []
    store = connect_dead_letters(url, told.append)
    OPEN.append(store)
    assert list(store.letters()) == written
    assert store.delete(lambda each: each.sequence in (2, 4, 5)) == 3
    assert [each.sequence for each in store.letters()] == [1, 3]
    assert store.delete(lambda _: False) == 0
    assert not told
    assert put(url, 4, 5) == list(store.letters())[2:], "the name is free again"


def test_a_damaged_object_is_named_and_skipped(tmp_path: Path) -> None:
    """Its content is not shown."""
    put(f"file:{tmp_path}", 1)
    [file] = tmp_path.rglob("*.dead-letters.gz")
    file.with_name("b.dead-letters.gz").write_bytes(b"+15550100001")
    file.with_name("c.dead-letters").write_bytes(b'{"reason": "+15550100001"}\n')
    told: list[str] = []
    assert [each.sequence for each in connect_dead_letters(f"file:{tmp_path}", told.append).letters()] == [1]
    assert told == [
        "dt=2026-11-25/hour=10/b.dead-letters.gz: not gzip: skipped",
        "dt=2026-11-25/hour=10/c.dead-letters:1: not a dead letter: skipped",
    ]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("file:missing", "no such directory"),
        ("s3:rows", "say s3://BUCKET/PREFIX"),
        ("s3://rows/x?region=eu-west-1&colour=red", "unknown option 'colour'"),
        ("s3://rows/x?endpoint_url=http://127.0.0.1:1", "connection refused"),
    ],
)
def test_a_wrong_place_is_one_line(url: str, words: str) -> None:
    """A command does not retry."""
    with pytest.raises(ConfigurationError, match="--dead-letters") as raised:
        list(connect_dead_letters(url, print).letters())
    assert words in str(raised.value)


def test_the_ledger_of_a_store_is_a_file_here(tmp_path: Path) -> None:
    """Its name is that of the place, without its options."""
    one, same, other = (
        connect_dead_letters(f"s3://rows/{text}region=eu-west-1", print).ledger
        for text in ("a?", "a?format=jsonl&", "b?")
    )
    assert one == same != other
    assert not one.is_absolute()
    assert connect_dead_letters(f"file:{tmp_path}", print).ledger.parent == tmp_path
