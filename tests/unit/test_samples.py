"""How sample events are put on a stream."""

from typing import Any

import pytest

from consumer.cli import samples
from consumer.errors import ConfigurationError


class Stream:
    """Refuses one record for ever, and every other one the first time."""

    def __init__(self, never: bytes) -> None:
        self.never, self.seen, self.taken = never, set[bytes](), list[bytes]()

    def put_records(self, Records: list[Any], StreamName: str) -> Any:  # noqa: N803 - boto3's names
        return {"Records": [self._answer(entry["Data"]) for entry in Records]}

    def _answer(self, data: bytes) -> dict[str, str]:
        if data == self.never or data not in self.seen:
            self.seen.add(data)
            return {"ErrorCode": "InternalFailure"}
        self.taken.append(data)
        return {}


def test_what_a_stream_refuses_is_put_again_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest is there, and one line says what is not."""
    monkeypatch.setattr(samples, "FIRST_WAIT", 0.0)
    stream = Stream(never=b"too large")
    with pytest.raises(ConfigurationError, match="refuses 1 records: InternalFailure"):
        list(samples.put(stream, "s", [b"a", b"too large", b"b"]))
    assert stream.taken == [b"a", b"b"]
