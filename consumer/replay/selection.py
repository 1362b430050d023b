"""Choose the rows of a replay by their type, sid or address."""

import re
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import compress

import msgspec
from msgspec.structs import replace

from consumer.errors import ConfigurationError
from consumer.pipeline.intake import Decode
from consumer.records import Block, Decoded, Position, Record


class Facts(msgspec.Struct, gc=False):
    """The fields of a row that a filter looks at."""

    event_type: str
    resource_sid: str
    from_address: str | None
    to_address: str | None


# The fields of a row by the name of a filter; one of them has to match.
FIELDS = {"type": ("event_type",), "sid": ("resource_sid",), "address": ("from_address", "to_address")}
_decode_lines = msgspec.json.Decoder(Facts).decode_lines


class Selection:
    """Filters such as `type=com.twilio.*`. For each field one of its values has to match; `*` stands for any text."""

    def __init__(self, only: Sequence[str]) -> None:
        found: dict[str, list[re.Pattern[str]]] = defaultdict(list)
        for text in only:
            name, mark, value = text.partition("=")
            if name not in FIELDS or not mark or not value:
                raise ConfigurationError(
                    "--only: say type=VALUE, sid=VALUE or address=VALUE, such as --only 'type=com.twilio.voice.*'"
                )
            found[name].append(re.compile(re.escape(value).replace(r"\*", ".*"), re.DOTALL))
        self._filters: Mapping[tuple[str, ...], Sequence[re.Pattern[str]]] = {
            FIELDS[name]: patterns for name, patterns in found.items()
        }

    def select(self, decoded: Decoded) -> Decoded:
        """Return what records became without the rows that a filter leaves out. They count as skipped.

        Dead letters are left out, because what does not decode matches no filter.
        """
        block, facts = decoded.block, _decode_lines(decoded.block.lines)
        chosen = [self._matches(row) for row in facts]
        if not all(chosen):
            lines = b"".join(compress(block.lines.splitlines(keepends=True), chosen))
            block = Block(lines, sum(chosen), list(compress(block.data, chosen)))
        left_out = [row.event_type for row, one in zip(facts, chosen, strict=True) if not one]
        return replace(decoded, block=block, dead_letters=(), skipped=[*decoded.skipped, *left_out])

    def _matches(self, facts: Facts) -> bool:
        return all(
            any(pattern.fullmatch(value) for name in names if (value := getattr(facts, name)) for pattern in patterns)
            for names, patterns in self._filters.items()
        )


class SelectingDecode:
    """Decode records like `decode`, and select rows."""

    def __init__(self, decode: Decode[Record], selection: Selection) -> None:
        self._decode, self._selection = decode, selection

    def __call__(self, backlog: deque[Record], after: Position, rows: int, /) -> Iterable[Decoded]:
        return map(self._selection.select, self._decode(backlog, after, rows))
