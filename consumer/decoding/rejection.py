"""Why an event cannot become a row. Raised inside of the pipeline only: `decoding` makes a dead letter of it."""

from consumer.records import Reason


class RecordRejected(Exception):
    """The reason, and the same in words without any value of the event."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
