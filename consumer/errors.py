"""Errors by what the caller does about them. A bad record is not here: it is a value, `records.DeadLetter`.

ConsumerError
├── ConfigurationError           tell the operator in one line, exit 2
│   └── StreamAbsent             there is no such stream; while it is read, that has to be confirmed
├── Retryable                    the same step later; may carry `retry_after` seconds
│   ├── Throttled                the shard's read limits are used up
│   ├── StreamUnavailable        the stream does not answer, or refuses for now
│   │   ├── PositionUnknown      it does not know where to go on: read from the beginning, leave out what is delivered
│   │   ├── IncompleteResponse   a response lacks what it must have: nothing follows from it, ask again
│   │   └── ReadTimedOut         the response did not arrive in time, or not to its end: ask for less
│   ├── CredentialsUnavailable   there are no valid AWS credentials now
│   ├── LeaseTableUnavailable    the lease table does not answer, or another write to the lease is under way
│   ├── LeaseStale               the lease may have run out: wait for a renewal to tell
│   └── SinkUnavailable          the sink does not take anything now
├── IteratorExpired              reopen after the last fetched record
├── ShardGone                    the stream says that it does not know the shard
├── LeaseLost                    somebody else holds the lease: drop everything, write nothing
├── RowsRejected                 these rows become dead letters, the rest is written
├── BatchRejected                some row, unknown which; nothing is written: bisect
├── NoThread                     the system gives us no thread: end, exit 1
└── OutputClosed                 the reader of the output is gone: stop, nothing is wrong

A docstring is the default message of its class. Messages never carry a value of an event.
"""

from collections.abc import Hashable, Mapping


class ConsumerError(Exception):
    """Something went wrong."""

    code = ""  # what the service, or the library that asks it, calls the error
    cause: Hashable = None  # the same for all errors that one trouble of one party brings; None: not known

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").strip())


class ConfigurationError(ConsumerError):
    """The configuration cannot work."""


class StreamAbsent(ConfigurationError):
    """There is no such stream."""


class Retryable(ConsumerError):
    """It may work later."""

    def __init__(self, message: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Throttled(Retryable):
    """The stream throttles this shard."""


class StreamUnavailable(Retryable):
    """The stream does not answer."""


class PositionUnknown(StreamUnavailable):
    """The stream does not know the position."""


class IncompleteResponse(StreamUnavailable):
    """The stream's response is incomplete."""


class ReadTimedOut(StreamUnavailable):
    """The stream's response did not arrive in time."""


class CredentialsUnavailable(Retryable):
    """There are no valid AWS credentials now."""


class LeaseTableUnavailable(Retryable):
    """The lease table does not answer."""


class LeaseStale(Retryable):
    """The lease may have run out; a renewal will tell."""


class SinkUnavailable(Retryable):
    """The sink does not answer."""


class IteratorExpired(ConsumerError):
    """The shard iterator has expired."""


class ShardGone(ConsumerError):
    """The stream does not know the shard."""


class LeaseLost(ConsumerError):
    """Another worker holds the lease now."""


class RowsRejected(ConsumerError):
    """The sink rejected some rows and wrote the rest.

    `rejected` maps a row's index in the batch to why, in words without values; `repeated` counts the rows among the
    rest that the sink already had.
    """

    def __init__(self, rejected: Mapping[int, str], repeated: int = 0) -> None:
        super().__init__(f"the sink rejected {len(rejected)} rows")
        self.rejected = rejected
        self.repeated = repeated


class BatchRejected(ConsumerError):
    """The sink rejected the batch because of some row, and wrote nothing."""


class NoThread(ConsumerError):
    """no thread can be started: raise the limit of processes (ulimit -u, pids of the container), or lower --threads"""


class OutputClosed(ConsumerError):
    """The reader of the output is gone."""


def where(error: BaseException) -> str:
    """File and line of an unforeseen error; its text may carry a value of an event and is not shown."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}" if trace else "?"
