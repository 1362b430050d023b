"""`python -m tests.simulation --seeds N`: run N fleets, and print how to replay each that broke a guarantee."""

import argparse
import sys
import time
from multiprocessing import Pool

from tests.simulation.run import simulate

SEEDS_PER_TASK = 25  # a process runs so many seeds before it takes the next ones


def _run(seeds: range) -> dict[int, list[str]]:
    return {seed: broken for seed in seeds if (broken := simulate(seed))}


def failing(seeds: range) -> dict[int, list[str]]:
    """Run these seeds on all cores; return the broken guarantees by failing seed."""
    parts = [seeds[start : start + SEEDS_PER_TASK] for start in range(0, len(seeds), SEEDS_PER_TASK)]
    failed: dict[int, list[str]] = {}
    with Pool() as pool:
        for found in pool.imap_unordered(_run, parts):
            failed |= found
    return dict(sorted(failed.items()))


def main() -> int:
    """Parse the arguments, run the fleets, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000, help="number of fleets")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="replay one seed and print what happens")
    arguments = parser.parse_args()
    if arguments.seed is not None:
        broken = simulate(arguments.seed, verbose=True)
        print("\n".join(broken) or "nothing broken")
        return 1 if broken else 0
    began = time.monotonic()
    failed = failing(range(arguments.first, arguments.first + arguments.seeds))
    for seed, broken in failed.items():
        print(f"seed {seed}: {'; '.join(broken[:3])}   replay: make simulate SEED={seed}")
    print(f"{arguments.seeds} fleets, {len(failed)} broke a guarantee, {time.monotonic() - began:.1f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
