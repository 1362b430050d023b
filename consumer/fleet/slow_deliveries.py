"""Log deliveries that do not return, such as a write to a pipe that no process reads."""

from consumer.errors import SinkUnavailable
from consumer.fleet.running_shards import RunningShards
from consumer.shard.consumer import ShardConsumer

# Seconds until a delivery counts as slow. A locked database or a slow disk makes a write wait for about ten.
SLOW_AFTER = 30.0
LOOK_INTERVAL = 10.0  # seconds


class SlowDeliveries:
    """A task that logs one line while deliveries hang, and one line when all of them have returned."""

    def __init__(self, running_shards: RunningShards) -> None:
        self._running_shards, self._outages = running_shards, running_shards.context.outages
        self._slow: set[ShardConsumer] = set()

    def step(self, now: float) -> float:
        running = set(self._running_shards.running.values())
        for consumer in running:
            self._look(consumer, now)
        for consumer in self._slow - running:
            self._outages.forget(consumer)
        self._slow &= running
        return LOOK_INTERVAL

    def _look(self, consumer: ShardConsumer, now: float) -> None:
        since = consumer.delivery.since
        if since is not None and now - since >= SLOW_AFTER:
            self._slow.add(consumer)
            self._outages.failed("delivery.slow", consumer, _error(), shard=consumer.shard_id)
        elif consumer in self._slow:
            self._slow.discard(consumer)
            self._outages.worked(consumer)


def _error() -> SinkUnavailable:
    error = SinkUnavailable(
        f"a write to the sink or its checkpoint has not returned for {SLOW_AFTER:g} s;"
        " check the program that reads the output, the file system, or the server"
    )
    error.cause = "slow delivery"
    return error
