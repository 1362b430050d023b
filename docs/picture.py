"""Draw docs/picture.svg: stream → workers → sinks, with the lease table. Run `python docs/picture.py`."""

from pathlib import Path
from xml.sax.saxutils import escape

TARGET = Path(__file__).with_name("picture.svg")
HEAD = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 270" font-family="sans-serif" font-size="14"'
    ' role="img" aria-label="Twilio writes to a Kinesis stream; workers read shards, write to sinks, then checkpoint'
    ' in the lease table">'
    '<rect width="760" height="270" fill="#ffffff"/>'
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
    '<path d="M0 0L8 4L0 8z" fill="#445"/></marker></defs>'
)


def box(left: int, top: int, colour: str, title: str, detail: str = "") -> str:
    """Return a rounded box of 150 x 50 with one or two lines of text."""
    middle, first = left + 75, top + (22 if detail else 30)
    return (
        f'<rect x="{left}" y="{top}" width="150" height="50" rx="6" fill="{colour}" stroke="#445"/>'
        f'<text x="{middle}" y="{first}" text-anchor="middle" font-weight="bold">{escape(title)}</text>'
        f'<text x="{middle}" y="{top + 40}" text-anchor="middle" font-size="11">{escape(detail)}</text>'
    )


def label(x: int, y: int, text: str) -> str:
    """Return small text around x."""
    return f'<text x="{x}" y="{y}" text-anchor="middle" font-size="11">{escape(text)}</text>'


def arrow(start: tuple[int, int], end: tuple[int, int], text: str = "") -> str:
    """Return an arrow with its label above the middle."""
    x, y = (start[0] + end[0]) // 2, (start[1] + end[1]) // 2 - 6
    return (
        f'<path d="M{start[0]} {start[1]}L{end[0]} {end[1]}" stroke="#445" marker-end="url(#tip)"/>'
        f"{label(x, y, text) if text else ''}"
    )


def picture() -> str:
    """Return the whole drawing as SVG."""
    parts = [
        HEAD,
        box(10, 60, "#fde8e8", "Twilio", "Event Streams"),
        box(205, 20, "#fdf3d8", "shard 1", "Kinesis stream"),
        box(205, 100, "#fdf3d8", "shard 2", "Kinesis stream"),
        box(400, 20, "#e2f0e4", "worker A", "decode · validate"),
        box(400, 100, "#e2f0e4", "worker B", "decode · validate"),
        box(600, 20, "#e3ebf9", "sink", "rows"),
        box(600, 100, "#e3ebf9", "dead letters", "bytes and location"),
        box(400, 200, "#eee6f6", "lease table", "owner · checkpoint"),
        arrow((160, 80), (203, 50)),
        arrow((160, 90), (203, 120)),
        arrow((355, 45), (398, 45)),
        arrow((355, 125), (398, 125)),
        label(371, 39, "read"),
        label(371, 119, "read"),
        arrow((550, 40), (598, 40), "1. write"),
        arrow((550, 60), (598, 110)),
        arrow((550, 110), (598, 60)),
        arrow((550, 130), (598, 130), "1. write"),
        arrow((475, 150), (475, 198)),
        '<path d="M400 60H390V225H398" fill="none" stroke="#445" marker-end="url(#tip)"/>',
        '<text x="484" y="180" font-size="11">2. then checkpoint</text>',
        "</svg>\n",
    ]
    return "\n".join(parts)


if __name__ == "__main__":
    TARGET.write_text(picture(), "utf-8")
