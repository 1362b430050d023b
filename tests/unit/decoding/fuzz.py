"""Decode changed events by the fast path and by the careful way: `python -m tests.unit.decoding.fuzz --count N`.

Each change is small, so that many events still take the fast path. Print the events whose rows differ.
"""

import argparse
import base64
import json
import random
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from benchmarks import events as bench
from consumer.decoding.event_decoder import EventDecoder
from consumer.decoding.fast_path import FastPath
from consumer.decoding.rows import encode_rows
from consumer.records import DeadLetter, Skipped, UserRecord, from_epoch
from schemas import examples
from schemas.event_types import EVENT_TYPES
from tests.unit.decoding.odd_values import (
    BODY_NAMES,
    BYTES,
    CODES,
    KEYS,
    MEDIA,
    NAMES,
    NUMBERS,
    SCHEMAS,
    SPELLINGS,
    TEXTS,
    TIMES,
    TWIML,
    URLS,
    VALUES,
)

STREAM, SHARD, AT = "stream", "shardId-000000000000", 1.7e9
LIVE_LIKE = [examples.load(name) for name in examples.names() if name.startswith("live-like-call")]
EVENTS = LIVE_LIKE + [event.data for event in bench.events(0, 4, AT, AT + 9)]
JSON_STRING = re.compile(rb'"[^"\\]+"')
VALUE = re.compile(rb'(?<=:)\s*(?:"[^"\\]*"|-?\d+)')


@dataclass
class Found:
    """The number of events that took the fast path, and those whose rows differ, with both results."""

    fast: int = 0
    different: list[tuple[bytes, bytes, bytes | DeadLetter | Skipped]] = field(default_factory=list)


class Both:
    """Both ways of decoding, for the events of one shard."""

    def __init__(self, stream: str = STREAM) -> None:
        self._fast, self._careful = FastPath(stream, SHARD), EventDecoder(stream, SHARD, raw=False)
        self._careful.fast = lambda *_: None

    def fast(self, data: bytes, key: str = "key") -> bytes | None:
        """Return the line of the fast path, or None."""
        row = self._fast(data, "7", 0, key, from_epoch(AT))
        return None if row is None else encode_rows([row])[:-1]

    def careful(self, data: bytes, key: str = "key") -> bytes | DeadLetter | Skipped:
        """Return the outcome of the careful way."""
        [(_, outcome)] = self._careful.outcomes([UserRecord(7, 0, key, AT, data)], b"")
        assert isinstance(outcome, bytes | DeadLetter | Skipped)
        return outcome


def fuzz(count: int, seed: int) -> Found:
    """Decode `count` changed events by both ways. The careful way is only used where the fast path has a row."""
    both, found, choose = Both(), Found(), random.Random(seed)
    for data in islice(changed_events(choose), count):
        key = choose.choice(KEYS)
        line = both.fast(data, key)
        if line is not None:
            found.fast += 1
            outcome = both.careful(data, key)
            if outcome != line:
                found.different.append((data, line, outcome))
    return found


def changed_events(choose: random.Random) -> Iterator[bytes]:
    """Yield events with up to three changed members and up to two changes of their bytes, without end."""
    while True:
        document = json.loads(choose.choice(EVENTS))
        for _ in range(choose.choice((0, 1, 1, 2, 3))):
            choose.choice(MEMBER_CHANGES)(document, choose)
        data = _encoded(document, choose)
        for _ in range(choose.choice((0, 0, 1, 1, 2))):
            data = choose.choice(BYTE_CHANGES)(data, choose)
        yield data


def _encoded(document: Any, choose: random.Random) -> bytes:
    separators = choose.choice([(",", ":"), (", ", ": "), (" ,\t", "\r\n: ")])
    text = json.dumps(document, ensure_ascii=choose.random() < 0.5, separators=separators)
    return text.encode(errors="surrogatepass")


def _objects(document: Any) -> list[dict[str, Any]]:
    """Return the objects of an event, as far as they are there."""
    data = _member(document, "data")
    request = _member(data, "request")
    return [document, data, request, _member(request, "parameters"), _member(data, "response")]


def _member(value: dict[str, Any], name: str) -> dict[str, Any]:
    inner = value.get(name)
    return inner if isinstance(inner, dict) else {}


def _place(document: Any, choose: random.Random) -> tuple[dict[str, Any], str]:
    """Return a random object of the event, and one of its names."""
    inside = choose.choice([value for value in _objects(document) if value])
    return inside, choose.choice(list(inside))


def _delete(document: Any, choose: random.Random) -> None:
    inside, name = _place(document, choose)
    if len(inside) > 1:
        del inside[name]


def _rename(document: Any, choose: random.Random) -> None:
    inside, name = _place(document, choose)
    inside[choose.choice([name.lower(), f"{name} ", f"{name}2", *NAMES])] = inside.pop(name)


def _retype(document: Any, choose: random.Random) -> None:
    inside, name = _place(document, choose)
    inside[name] = choose.choice(VALUES)


def _text(document: Any, choose: random.Random) -> None:
    """Replace a text, or insert something into it."""
    inside, name = _place(document, choose)
    if isinstance(text := inside[name], str) and name != "responseBody":
        cut = choose.randint(0, len(text))
        inside[name] = choose.choice(TEXTS) if choose.random() < 0.5 else text[:cut] + choose.choice(TEXTS) + text[cut:]


def _usual_text(document: Any, choose: random.Random) -> None:
    """Give a member a value that it could have, or one that is almost like it."""
    envelope, data, request, _, response = _objects(document)
    places: list[tuple[dict[str, Any], str, list[Any]]] = [
        (envelope, "time", TIMES),
        (envelope, "source", URLS),
        (envelope, "type", [*EVENT_TYPES]),
        (envelope, "dataschema", SCHEMAS),
        (data, "timestamp", [*TIMES, None]),
        (data, "requestDateCreated", [*TIMES, None]),
        (data, "eventSid", [*TEXTS, None]),
        (request, "url", [*URLS, None]),
        (request, "method", [*TEXTS, None]),
        (response, "dateCreated", [*TIMES, None]),
        (response, "contentType", [*MEDIA, None]),
        (response, "responseCode", [*NUMBERS, "200", None]),
        (response, "requestDuration", [*NUMBERS, "200", None]),
    ]
    inside, name, values = choose.choice(places)
    inside[name] = choose.choice(values)


def _parameter(document: Any, choose: random.Random) -> None:
    parameters = _objects(document)[3]
    texts = [choose.choice(TEXTS) for _ in range(choose.randint(0, 2))]
    parameters[choose.choice(NAMES)] = choose.choice([choose.choice(TEXTS), texts, choose.choice(VALUES)])


def _shuffle(document: Any, choose: random.Random) -> None:
    inside, _ = _place(document, choose)
    members = list(inside.items())
    choose.shuffle(members)
    inside.clear()
    inside.update(members)


def _body(document: Any, choose: random.Random) -> None:
    """Change the text of a body: members of a JSON object, or anything in TwiML."""
    response = _objects(document)[4]
    try:
        body = base64.b64decode(response["responseBody"])
        members = json.loads(body)
        for _ in range(choose.randint(1, 3)):
            members[choose.choice(BODY_NAMES)] = choose.choice([*VALUES, *CODES])
        body = _encoded(members, choose)
    except (KeyError, TypeError, ValueError):
        body = base64.b64decode(response.get("responseBody") or "") if _is_base64(response) else b""
        cut = choose.choice([0, len(body), choose.randint(0, len(body))])
        body = body[:cut] + choose.choice(TWIML).encode() + body[cut + choose.choice((0, 0, 1, 9)) :]
    response["responseBody"] = base64.b64encode(body).decode()


def _is_base64(response: dict[str, Any]) -> bool:
    encoded = response.get("responseBody")
    return (
        isinstance(encoded, str)
        and re.fullmatch(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?", encoded) is not None
    )


def _body_bytes(document: Any, choose: random.Random) -> None:
    response = _objects(document)[4]
    if _is_base64(response):
        body = _damaged(base64.b64decode(response["responseBody"]), choose)
        response["responseBody"] = base64.b64encode(body).decode()


def _base64(document: Any, choose: random.Random) -> None:
    response = _objects(document)[4]
    if isinstance(encoded := response.get("responseBody"), str):
        cut = choose.choice([len(encoded), len(encoded) - 1, choose.randint(0, len(encoded))])
        response["responseBody"] = encoded[: max(cut, 0)] + choose.choice(
            ["", "=", "==", "A", "A===", "\n", "-_", "é", "QR=="]
        )


MEMBER_CHANGES: list[Callable[[Any, random.Random], None]] = [
    _delete, _rename, _retype, _text, _text, _usual_text, _usual_text, _usual_text, _parameter, _parameter, _parameter,
    _shuffle, _shuffle, _body, _body, _body, _body_bytes, _base64,
]  # fmt: skip


def _damaged(data: bytes, choose: random.Random) -> bytes:
    """Cut, overwrite or insert bytes."""
    start = choose.choice([0, choose.randint(0, len(data)), choose.randint(0, len(data))])
    return data[:start] + choose.choice([b"", *BYTES]) + data[start + choose.choice((0, 0, 1, 3)) :]


def _duplicated(data: bytes, choose: random.Random) -> bytes:
    """Insert a member that is there already, in front of it or behind it."""
    names = ["id", "type", "time", "data", "sid", "url", "request", "response", "responseCode", "responseBody", *NAMES]
    name, value = json.dumps(choose.choice(names)).encode(), json.dumps(choose.choice(VALUES)).encode()
    cut = choose.choice([found.end() for found in re.finditer(rb"{|(?=})", data)] or [0])
    member = name + b":" + value
    return data[:cut] + (member + b"," if data[cut - 1 : cut] == b"{" else b"," + member) + data[cut:]


def _escaped(data: bytes, choose: random.Random) -> bytes:
    """Spell a character of a string as an escape."""
    strings = [found for found in JSON_STRING.finditer(data) if found[0].isascii()]
    if not strings:
        return data
    found = choose.choice(strings)
    at = choose.randrange(found.start() + 1, found.end() - 1)
    return data[:at] + b"\\u%04x" % data[at] + data[at + 1 :]


def _spelled(data: bytes, choose: random.Random) -> bytes:
    """Replace a value by an odd spelling of one."""
    values = list(VALUE.finditer(data))
    if not values:
        return data
    found = choose.choice(values)
    return data[: found.start()] + choose.choice(SPELLINGS) + data[found.end() :]


def _spaced(data: bytes, choose: random.Random) -> bytes:
    """Insert white space, mostly between tokens."""
    at = choose.choice([found.start() for found in re.finditer(rb"[{},:]|$", data)])
    return data[:at] + choose.choice([b" ", b"\n", b"\t\r\n", b"\x0b", b"\x00", b"\xc2\xa0"]) + data[at:]


BYTE_CHANGES: list[Callable[[bytes, random.Random], bytes]] = [
    _damaged,
    _duplicated,
    _escaped,
    _escaped,
    _spelled,
    _spaced,
]


def _difference(line: bytes, outcome: bytes | DeadLetter | Skipped) -> str:
    if not isinstance(outcome, bytes):
        return f"careful: {outcome}"
    fast, careful = json.loads(line), json.loads(outcome)
    return "\n".join(
        f"{name}: fast {fast[name]!r}, careful {careful[name]!r}" for name in fast if fast[name] != careful[name]
    )


def main() -> int:
    """Parse the arguments, decode the events, print those that differ, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.unit.decoding.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000, help="number of events")
    parser.add_argument("--seed", type=int, help="of the changes [default: random]")
    arguments = parser.parse_args()
    seed = random.randrange(1_000_000) if arguments.seed is None else arguments.seed
    found = fuzz(arguments.count, seed)
    for data, line, outcome in found.different[:10]:
        print(f"event: {data!r}\n{_difference(line, outcome)}\n")
    print(f"seed {seed}: {arguments.count} events, {found.fast} on the fast path, {len(found.different)} rows differ")
    return 1 if found.different else 0


if __name__ == "__main__":
    sys.exit(main())
