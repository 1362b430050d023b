"""What happened in a storm, and what was broken."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Report:
    """What happened."""

    seed: int
    sink: str
    seconds: float
    published: int = 0
    rows: int = 0
    done: Counter[str] = field(default_factory=Counter)
    delays: dict[str, float] = field(default_factory=dict)
    moves: Counter[str] = field(default_factory=Counter)
    samples: int = 0
    quiet: float = 0.0
    broken: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        done = ", ".join(f"{name} {count}" for name, count in sorted(self.done.items()))
        worst = sorted(self.delays.items(), key=lambda pair: -pair[1])
        lines = [
            f"seed {self.seed}, {self.seconds:.0f} s, sink {self.sink}:"
            f" {self.published} published, {self.rows} rows; {done}",
            f"longest gap per shard: {', '.join(f'{shard[-4:]} {delay:.1f} s' for shard, delay in worst[:8])}",
            f"owner changes per lease: most {max(self.moves.values(), default=0)}, all {self.moves.total()}; table seen"
            f" {self.samples} times; all delivered {self.quiet:.1f} s after the storm",
            *(f"BROKEN: {broken}" for broken in self.broken),
        ]
        return "\n".join(lines)
