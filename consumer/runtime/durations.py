"""Format durations for people."""


def span(seconds: float) -> str:
    """Format seconds with a unit, such as 36 h or 5 min."""
    for unit, length in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}".replace(".0 ", " ")
    return f"{seconds:.0f} s"
