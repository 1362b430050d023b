"""What is odd about an event on its way to a row."""

from schemas.call_request import Oddity


class Oddities(list[Oddity]):
    """The `warnings` of one row: each oddity once, in the order in which they are met."""

    __slots__ = ()

    def note(self, *oddities: Oddity) -> None:
        """Add what is not there yet."""
        for oddity in oddities:
            if oddity not in self:
                self.append(oddity)
