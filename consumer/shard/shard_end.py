"""Decide whether a shard has ended. One listing, or a member that a response lacks, is not enough.

A shard that counts as ended is never read again, so its remaining records would be lost. Therefore a shard has ended
only if its last response names its children; or a fresh listing shows it closed and a new iterator finds nothing after
the last record; or two complete listings of the same stream lack it and its parents.
"""

from collections.abc import Sequence

from consumer.errors import ConfigurationError, StreamAbsent, StreamUnavailable
from consumer.leases import Lease
from consumer.records import Shard, StreamSummary
from consumer.shard.deleted_stream import Absence
from consumer.shard.listing import complete
from consumer.streams import Stream

# Seconds between the two listings that must agree.
CONFIRM_AFTER = 2.0


class ShardEnd:
    """Evidence of the end of one shard."""

    def __init__(self, lease: Lease, stream: Stream) -> None:
        self._lease, self._stream = lease, stream
        self._absence = Absence()
        self._absent_since: float | None = None
        self._childless_since: float | None = None

    def found(self) -> None:
        """Note a response for the shard, so the stream knows it."""
        self._absent_since = None

    def closed(self, now: float) -> bool:
        """Return whether a fresh listing shows the shard closed.

        A listing with the children proves it. One without them may lack more than the children, so it must be repeated.
        """
        shards = self._stream.shards()
        if not any(shard.shard_id == self._lease.shard_id and shard.closed for shard in shards):
            self._childless_since = None
            return False
        if any(self._lease.shard_id in shard.parents for shard in shards):
            return True
        if self._childless_since is None:
            self._childless_since = now
        return now - self._childless_since >= CONFIRM_AFTER

    def gone(self, now: float) -> None:
        """Return if the stream no longer has the shard, as after its last record was trimmed.

        Raises:
            StreamUnavailable: this is not certain yet.
        """
        stream = f"stream {self.check_stream(now).name!r}"
        shards = self._stream.shards()
        if self._listed(shards):
            self._absent_since = None
            raise StreamUnavailable(f"{stream} lists the shard, but refuses to read it as unknown; trying again")
        if not complete(shards):
            self._absent_since = None
            raise StreamUnavailable(f"{stream} does not know the shard, and its listing lacks shards; trying again")
        if parents := sorted({shard.shard_id for shard in shards} & set(self._lease.parents)):
            # Kinesis removes a shard after its parents, so this one is not listed yet.
            self._absent_since = None
            raise StreamUnavailable(f"{stream} lists the shard's parent {parents[0]}, but not yet the shard")
        if self._absent_since is None:
            self._absent_since = now
        if now - self._absent_since < CONFIRM_AFTER:
            raise StreamUnavailable(f"{stream} does not list the shard; looking again before it counts as ended")

    def check_stream(self, now: float) -> StreamSummary:
        """Return the stream's description if it is active, and the one that the lease belongs to.

        Raises:
            StreamUnavailable: it is not.
            ConfigurationError: it has been deleted or replaced for so long that it will not come back.
        """
        try:
            summary = self._stream.summary()
        except StreamAbsent as error:
            self._absence.confirm(f"the stream was deleted while it was read: {error}", now)
            raise StreamUnavailable(str(error)) from None
        except ConfigurationError as error:  # permission was withdrawn: an operator may restore it
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
        return summary

    def _listed(self, shards: Sequence[Shard]) -> bool:
        return any(shard.shard_id == self._lease.shard_id for shard in shards)
