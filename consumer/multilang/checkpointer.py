"""Checkpoint through the daemon, which holds the lease."""

from consumer.errors import LeaseLost, LeaseTableUnavailable, OutputClosed
from consumer.leases import Pending
from consumer.multilang.wire import CLOSED, ProtocolError, Wire
from consumer.records import Position

# The simple class names of the daemon's exceptions. It raises `ShutdownException` when it no longer holds the lease.
LOST = "ShutdownException"
RETRYABLE = ("ThrottlingException", "KinesisClientLibDependencyException")


class DaemonCheckpointer:
    """Deliver under a lease that the daemon holds.

    A lost lease shows only in the response to a checkpoint, or in a message that follows our status. A write before
    that may repeat rows that the next owner writes too. The checkpoint then stays where it is.
    """

    pending = None  # the daemon's protocol has no `prepareCheckpoint`

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.lost = False

    def ensure_held(self) -> None:
        """Return unless the lease is known to be lost or the daemon has closed the pipe.

        Raises:
            LeaseLost: the daemon no longer holds the lease.
            OutputClosed: the daemon closed the pipe.
        """
        if self.lost:
            raise LeaseLost
        if self._wire.closes_within(0.0):
            raise OutputClosed(CLOSED)

    def prepare(self, pending: Pending) -> None:
        """Do nothing: the protocol cannot store a pending batch."""

    def checkpoint(self, position: Position) -> None:
        """Move the checkpoint. Call this only between a message of the daemon and the status that responds to it.

        Raises:
            LeaseLost: the daemon no longer holds the lease.
            LeaseTableUnavailable: DynamoDB throttles or does not respond; call again.
            ProtocolError: the daemon rejects the checkpoint for another reason.
            OutputClosed: the daemon closed the pipe.
        """
        self._checkpoint(str(position.sequence), position.sub_sequence)

    def end(self) -> None:
        """Checkpoint the end of the shard. Raises the same errors as `checkpoint`."""
        self._checkpoint(None, None)

    def _checkpoint(self, sequence: str | None, sub_sequence: int | None) -> None:
        self.ensure_held()
        self._wire.send({"action": "checkpoint", "sequenceNumber": sequence, "subSequenceNumber": sub_sequence})
        response = self._wire.read()
        if response is None:
            raise OutputClosed(CLOSED)
        if response.action != "checkpoint":
            raise ProtocolError(f"the daemon responded to a checkpoint with {response.action!r}")
        if response.error == LOST:
            self.lost = True
            raise LeaseLost
        if response.error in RETRYABLE:
            raise LeaseTableUnavailable(f"the daemon cannot checkpoint now: {response.error}")
        if response.error is not None:
            raise ProtocolError(f"the daemon rejected a checkpoint: {response.error}")
