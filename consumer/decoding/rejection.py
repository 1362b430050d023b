"""The error for an event that cannot become a row. The decoder catches it and makes a dead letter."""

from consumer.records import Reason


class RecordRejected(Exception):
    """The event cannot become a row. The message carries no value of the event."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
