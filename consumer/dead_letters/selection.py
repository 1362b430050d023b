"""Select dead letters by id, reason, shard, stream and time."""

from dataclasses import dataclass
from datetime import datetime

from consumer.dead_letters import StoredDeadLetter
from consumer.records import rfc3339


@dataclass(frozen=True, slots=True)
class Selection:
    """What a command is about: dead letters that fit every given filter. Without a filter all fit.

    `ids` may be the beginnings of ids. `since` (included) and `until` (not included) are times of arrival at Kinesis.
    """

    ids: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    shards: tuple[str, ...] = ()
    stream: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def __contains__(self, letter: StoredDeadLetter) -> bool:
        return (
            (not self.stream or letter.stream_name == self.stream)
            and (not self.reasons or letter.reason in self.reasons)
            and (not self.shards or letter.shard_id in self.shards)
            and (not self.since or letter.arrived_at >= rfc3339(self.since))
            and (not self.until or letter.arrived_at < rfc3339(self.until))
            and (not self.ids or letter.id.startswith(self.ids))
        )
