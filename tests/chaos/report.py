"""Report what happened in a storm and which checks failed."""

from collections import Counter
from dataclasses import dataclass, field

from tests.chaos.gaps import Gap


@dataclass
class Report:
    """The result of one storm."""

    seed: int
    sink: str
    seconds: float
    published: int = 0
    rows: int = 0
    done: Counter[str] = field(default_factory=Counter)
    longest: Gap | None = None
    gaps: list[Gap] = field(default_factory=list)
    moves: Counter[str] = field(default_factory=Counter)
    samples: int = 0
    quiet: float = 0.0
    broken: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        done = ", ".join(f"{name} {count}" for name, count in sorted(self.done.items()))
        lines = [
            f"seed {self.seed}, {self.seconds:.0f} s, sink {self.sink}:"
            f" {self.published} published, {self.rows} rows; {done}",
            f"longest wait for a row: {self.longest}; longest net of what the storm did to its owners:",
            *(f"  {gap}" for gap in self.gaps[:4]),
            f"owner changes per lease: most {max(self.moves.values(), default=0)}, all {self.moves.total()}; table seen"
            f" {self.samples} times; all delivered {self.quiet:.1f} s after the storm",
            *(f"BROKEN: {broken}" for broken in self.broken),
        ]
        return "\n".join(lines)
