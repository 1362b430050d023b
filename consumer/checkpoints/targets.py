"""Parse where a reset moves the checkpoints to."""

import re
from dataclasses import dataclass
from datetime import datetime

from consumer.errors import ConfigurationError
from consumer.setting_values import start

SEQUENCE = re.compile(r"(\d+)(?:\.(\d+))?")


@dataclass(frozen=True, slots=True)
class Target:
    """Where to read from: one of `trim_horizon`, `latest`, the records since `time`, or those after `sequence`.

    `sub_sequence`: the last user record of an aggregate that is left out; None: all of them.
    """

    text: str
    latest: bool = False
    time: datetime | None = None
    sequence: int | None = None
    sub_sequence: int | None = None

    @property
    def trim_horizon(self) -> bool:
        """Return whether to read everything that the stream has."""
        return not self.latest and self.time is None and self.sequence is None


def target_of(text: str) -> Target:
    """Return the target that `--to` names.

    Raises:
        ConfigurationError: the text is none.
    """
    if found := SEQUENCE.fullmatch(text):
        return Target(text, sequence=int(found[1]), sub_sequence=int(found[2]) if found[2] else None)
    try:
        value = start(text)
    except ValueError as error:
        raise ConfigurationError(f"--to {text[:60]!r}: {error}, or a sequence number (with --shard)") from None
    return Target(text, latest=value == "latest", time=value if isinstance(value, datetime) else None)
