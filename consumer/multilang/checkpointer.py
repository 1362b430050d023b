"""KCL's checkpoint, asked for over the wire: the fence that deliveries stand behind when the lease is the daemon's."""

from consumer.errors import LeaseLost, LeaseTableUnavailable, OutputClosed
from consumer.leases import Pending
from consumer.multilang.wire import ProtocolError, Wire
from consumer.records import Position

# The simple names of the daemon's exceptions. `ShutdownException`: the lease is somebody else's, or nobody's.
LOST = "ShutdownException"
RETRYABLE = ("ThrottlingException", "KinesisClientLibDependencyException")


class DaemonCheckpointer:
    """The lease as far as the daemon lets its child see it.

    That it is lost shows only in the answer to a checkpoint, or in a message that comes once we have said that we are
    done. So a write may repeat what another worker has already written, but the checkpoint never moves for it.
    """

    pending = None  # the protocol has no `prepareCheckpoint`

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.lost = False

    def ensure_held(self) -> None:
        """Return unless the lease is known to be lost, or the daemon is gone."""
        if self.lost:
            raise LeaseLost
        if self._wire.closes_within(0.0):
            raise OutputClosed("the daemon is gone")

    def prepare(self, pending: Pending) -> None:
        """There is no place to keep it."""

    def checkpoint(self, position: Position) -> None:
        """Move the checkpoint; may only be called between a message of the daemon and the status that answers it.

        Raises:
            LeaseLost: the daemon does not hold the lease any more.
            LeaseTableUnavailable: DynamoDB throttles or does not answer: ask again.
            ProtocolError: the daemon refuses it for another reason.
            OutputClosed: the daemon is gone.
        """
        self._ask(str(position.sequence), position.sub_sequence)

    def end(self) -> None:
        """Say that all of the shard is delivered; raises what `checkpoint` raises."""
        self._ask(None, None)

    def _ask(self, sequence: str | None, sub_sequence: int | None) -> None:
        self.ensure_held()
        self._wire.send({"action": "checkpoint", "sequenceNumber": sequence, "subSequenceNumber": sub_sequence})
        answer = self._wire.read()
        if answer is None:
            raise OutputClosed("the daemon is gone")
        if answer.action != "checkpoint":
            raise ProtocolError(f"{answer.action!r} is no answer to a checkpoint")
        if answer.error == LOST:
            self.lost = True
            raise LeaseLost
        if answer.error in RETRYABLE:
            raise LeaseTableUnavailable(f"the daemon cannot checkpoint now: {answer.error}")
        if answer.error is not None:
            raise ProtocolError(f"the daemon refuses a checkpoint: {answer.error}")
