"""Judge one listing of a stream, which may be partial, by the hash keys that its shards cover. Pure."""

from collections.abc import Iterable, Sequence

from consumer.records import FULL_HASH_RANGE, Shard


def complete(shards: Sequence[Shard]) -> bool:
    """Return whether a listing can be the whole stream: the shards without listed children cover all hash keys."""
    parents = {parent for shard in shards for parent in shard.parents}
    return covers([shard.hash_range for shard in shards if shard.shard_id not in parents])


def doubtful(shards: Sequence[Shard]) -> bool:
    """Return whether a listing may lack shards although it is `complete`: a child of a closed one, or a parent.

    A stream does look like this for a while: children follow a moment later, and parents go with the retention.
    """
    listed = {shard.shard_id for shard in shards}
    parents = {parent for shard in shards for parent in shard.parents}
    return not parents <= listed or any(shard.closed and shard.shard_id not in parents for shard in shards)


def covers(ranges: Iterable[tuple[int, int]]) -> bool:
    """Return whether ranges of hash keys, both ends included, leave no hash key out."""
    reached = 0
    for first, last in sorted(ranges):
        if first > reached:
            return False
        reached = max(reached, last + 1)
    return reached > FULL_HASH_RANGE[1]
