"""Group errors by what the caller does about them. A bad record is not an error: it becomes a `records.DeadLetter`.

ConsumerError
├── ConfigurationError           print one line for the operator, exit 2
│   └── StreamAbsent             the stream does not exist; confirm with further calls while it is read
├── Retryable                    repeat the step later, after `retry_after` seconds if set
│   ├── Throttled                the shard's read limits are used up
│   ├── StreamUnavailable        the stream does not respond, or fails temporarily
│   │   ├── PositionUnknown      the stream does not know the position: read from TRIM_HORIZON, skip delivered records
│   │   ├── IncompleteResponse   a response lacks required members: conclude nothing from it, repeat the call
│   │   └── ReadTimedOut         the response timed out or was cut off: ask for fewer records
│   ├── CredentialsUnavailable   there are no valid AWS credentials now
│   ├── LeaseTableUnavailable    the lease table does not respond, or another write to the lease is in flight
│   ├── LeaseStale               the lease may have expired: wait for the next renewal
│   ├── SinkUnavailable          the sink cannot write now
│   └── SpoolUnavailable         the temporary directory cannot be written now; nothing that was added is lost
├── IteratorExpired              open a new iterator after the last fetched record
├── ShardGone                    the stream does not know the shard
├── RecordHalts                  a policy stops the shard before a record: deliver what is before it, then wait
├── LeaseLost                    another worker holds the lease: discard the buffer, write nothing
├── RowsRejected                 the named rows become dead letters; the sink wrote the rest
├── BatchRejected                an unknown row is invalid and nothing is written: bisect the batch
├── NoThread                     the system cannot start another thread: exit 1
└── OutputClosed                 the reader has closed the output: stop without an error

A docstring is the default message of its class. Messages never carry a value of an event.
"""

from collections.abc import Hashable, Mapping


class ConsumerError(Exception):
    """The program failed."""

    code = ""  # the error code of the service or its client library
    cause: Hashable = None  # equal for errors with the same cause, such as one host that is down; None: unknown

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").strip())


class ConfigurationError(ConsumerError):
    """The configuration cannot work."""


class StreamAbsent(ConfigurationError):
    """The stream does not exist."""


class Retryable(ConsumerError):
    """The call failed, but may succeed later."""

    def __init__(self, message: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Throttled(Retryable):
    """The stream throttles this shard."""


class StreamUnavailable(Retryable):
    """The stream does not respond."""


class PositionUnknown(StreamUnavailable):
    """The stream does not know the position."""


class IncompleteResponse(StreamUnavailable):
    """The stream's response is incomplete."""


class ReadTimedOut(StreamUnavailable):
    """The stream's response did not arrive in time."""


class CredentialsUnavailable(Retryable):
    """There are no valid AWS credentials now."""


class LeaseTableUnavailable(Retryable):
    """The lease table does not respond."""


class LeaseStale(Retryable):
    """The lease may have expired. The next renewal decides."""


class SinkUnavailable(Retryable):
    """The sink does not respond."""


class SpoolUnavailable(Retryable):
    """The temporary directory cannot be written."""

    cause = "temporary directory"


class IteratorExpired(ConsumerError):
    """The shard iterator has expired."""


class ShardGone(ConsumerError):
    """The stream does not know the shard."""


class RecordHalts(ConsumerError):
    """A policy stops the shard before a record. `reason` is that of a rejection, or "share"."""

    def __init__(self, reason: str, sequence: int) -> None:
        super().__init__(f"halted by {reason} at {sequence}")
        self.reason, self.sequence = reason, sequence


class LeaseLost(ConsumerError):
    """Another worker holds the lease now."""


class RowsRejected(ConsumerError):
    """The sink rejected some rows and wrote the rest.

    `rejected` maps the index of a row in the batch to the reason, which must not contain values of the event.
    `repeated` is the number of other rows that the sink already had.
    """

    def __init__(self, rejected: Mapping[int, str], repeated: int = 0) -> None:
        super().__init__(f"the sink rejected {len(rejected)} rows")
        self.rejected = rejected
        self.repeated = repeated


class BatchRejected(ConsumerError):
    """The sink rejected the batch because of an unknown row, and wrote nothing."""


class NoThread(ConsumerError):
    """Cannot start a thread. Raise the process limit (ulimit -u, or pids of the container), or lower --threads."""


class OutputClosed(ConsumerError):
    """The reader has closed the output."""


def where(error: BaseException) -> str:
    """Return FILE:LINE of an unforeseen error, or "?". Its text may contain a value of an event, so do not log it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}" if trace else "?"
