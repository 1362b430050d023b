"""Collect the warning codes of one event while it becomes a row."""

from schemas.call_request import WarningCode


class Warnings(list[WarningCode]):
    """The `warnings` of one row: each code once, in the order of discovery."""

    __slots__ = ()

    def note(self, *codes: WarningCode) -> None:
        """Append the codes that are not in the list yet."""
        for code in codes:
            if code not in self:
                self.append(code)
