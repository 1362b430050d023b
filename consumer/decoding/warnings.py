"""What is odd about an event on its way to a row."""

from schemas.call_request import WarningCode


class Warnings(list[WarningCode]):
    """The `warnings` of one row: each warning_code once, in the order in which they are met."""

    __slots__ = ()

    def note(self, *oddities: WarningCode) -> None:
        """Add what is not there yet."""
        for warning_code in oddities:
            if warning_code not in self:
                self.append(warning_code)
