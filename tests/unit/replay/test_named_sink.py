"""Give batches of a replay names of their own."""

from pathlib import Path

from consumer.replay.named_sink import NamedSink
from consumer.sinks import payload_of, suffix_of
from consumer.sinks.objects import directory
from consumer.testing import make_batch
from tests.contracts.places import connect

NAME = "dt=2026-01-01/hour=00/shard-1-2"


def test_the_added_text_stands_before_the_suffix_of_an_object(tmp_path: Path) -> None:
    """A batch that was prepared in another format gets the object that was prepared."""
    inner = connect(directory, f"file:{tmp_path}?format=jsonl")
    sink = NamedSink(inner, ".replay-1")
    sink.write(make_batch([1], NAME))
    sink.write(make_batch([1], f"{NAME}.jsonl.gz"))
    assert sorted(file.name for file in tmp_path.rglob("*.*")) == [
        "shard-1-2.replay-1.jsonl",
        "shard-1-2.replay-1.jsonl.gz",
    ]
    assert sink.holds(NAME)
    assert not inner.holds(NAME)
    assert (suffix_of(sink), payload_of(sink)) == (".jsonl", 1.0)
