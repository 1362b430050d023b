"""Judge whether a listing of a stream lacks shards, from the hash keys that its shards cover. Pure."""

from collections.abc import Iterable, Sequence

from consumer.records import FULL_HASH_RANGE, Shard


def complete(shards: Sequence[Shard]) -> bool:
    """Return whether a listing may be the whole stream: the shards without listed children cover all hash keys."""
    parents = {parent for shard in shards for parent in shard.parents}
    return covers([shard.hash_range for shard in shards if shard.shard_id not in parents])


def doubtful(shards: Sequence[Shard]) -> bool:
    """Return whether a listing may lack shards although it is `complete`: a child of a closed shard, or a parent.

    A whole stream also looks like this for a while: children appear a moment later, and parents expire first.
    """
    listed = {shard.shard_id for shard in shards}
    parents = {parent for shard in shards for parent in shard.parents}
    return not parents <= listed or any(shard.closed and shard.shard_id not in parents for shard in shards)


def covers(ranges: Iterable[tuple[int, int]]) -> bool:
    """Return whether ranges of hash keys, both ends included, cover all hash keys."""
    reached = 0
    for first, last in sorted(ranges):
        if first > reached:
            return False
        reached = max(reached, last + 1)
    return reached > FULL_HASH_RANGE[1]
