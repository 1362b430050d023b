"""Whether a shard has ended: nothing is concluded from one listing, or from what a response leaves out.

A shard that is taken for ended is never read again, so what it still holds would be lost. Therefore "ended" is said of
a shard whose last response names its children; or that a fresh listing shows closed, when a new iterator finds nothing
behind the last record; or that two complete listings of the same stream lack.
"""

from collections.abc import Sequence

from consumer.errors import ConfigurationError, StreamAbsent, StreamUnavailable
from consumer.leases import Lease
from consumer.records import Shard
from consumer.shard.deleted_stream import Absence
from consumer.shard.listing import complete
from consumer.streams import Stream

# Seconds from one listing to the next that has to agree with it.
LOOK_AGAIN = 2.0


class ShardEnd:
    """Asks the stream about the end of one shard."""

    def __init__(self, lease: Lease, stream: Stream) -> None:
        self._lease, self._stream = lease, stream
        self._absence = Absence()
        self._absent_since: float | None = None
        self._childless_since: float | None = None

    def answered(self) -> None:
        """The stream knows the shard."""
        self._absent_since = None

    def closed(self, now: float) -> bool:
        """Return whether a fresh listing shows the shard closed.

        A listing with the children proves it. One without them may lack more than that, so it has to be seen twice.
        """
        shards = self._stream.shards()
        if not any(shard.shard_id == self._lease.shard_id and shard.closed for shard in shards):
            self._childless_since = None
            return False
        if any(self._lease.shard_id in shard.parents for shard in shards):
            return True
        if self._childless_since is None:
            self._childless_since = now
        return now - self._childless_since >= LOOK_AGAIN

    def gone(self, now: float) -> None:
        """Return if the stream has forgotten the shard, as it does when the last record has been trimmed.

        Raises:
            StreamUnavailable: that is not certain, or not yet.
        """
        self.check_stream(now)
        shards = self._stream.shards()
        if self._listed(shards) or not complete(shards):
            self._absent_since = None
            raise StreamUnavailable("the stream does not know a shard that it should have")
        if self._absent_since is None:
            self._absent_since = now
        if now - self._absent_since < LOOK_AGAIN:
            raise StreamUnavailable("the stream does not list the shard; looking again before it counts as ended")

    def check_stream(self, now: float) -> None:
        """Return if the stream is the one that the lease belongs to.

        Raises:
            StreamUnavailable: it is not, or it is not active.
            ConfigurationError: it has not been for so long that it will not come back.
        """
        try:
            summary = self._stream.summary()
        except StreamAbsent as error:
            self._absence.confirm(f"the stream was deleted while it was read: {error}", now)
            raise StreamUnavailable(str(error)) from None
        except ConfigurationError as error:  # no longer permitted: an operator may mend it
            raise StreamUnavailable(str(error)) from None
        if not summary.made_at(self._lease.stream_created_at):
            problem = (
                f"stream {summary.name!r} was deleted and created again: its checkpoints are those of the old one;"
                " start with another --application or another lease table"
            )
            self._absence.confirm(problem, now)
            raise StreamUnavailable(problem)
        self._absence.over()
        if not summary.active:
            raise StreamUnavailable(f"stream {summary.name!r} is not active")

    def _listed(self, shards: Sequence[Shard]) -> bool:
        return any(shard.shard_id == self._lease.shard_id for shard in shards)
