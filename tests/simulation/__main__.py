"""`python -m tests.simulation --seeds N`: run N fleets, and print how to replay each that broke a promise."""

import argparse
import sys
import time
from multiprocessing import Pool

from tests.simulation.run import simulate

AT_ONCE = 25  # seeds that a process runs before it comes back for more


def _run(seeds: range) -> dict[int, list[str]]:
    return {seed: broken for seed in seeds if (broken := simulate(seed))}


def failing(seeds: range) -> dict[int, list[str]]:
    """Run these seeds on all cores; returns what each failing one broke."""
    parts = [seeds[start : start + AT_ONCE] for start in range(0, len(seeds), AT_ONCE)]
    failed: dict[int, list[str]] = {}
    with Pool() as pool:
        for found in pool.imap_unordered(_run, parts):
            failed |= found
    return dict(sorted(failed.items()))


def main() -> int:
    """Arguments in, exit code out."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000, help="how many fleets")
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
    print(f"{arguments.seeds} fleets, {len(failed)} broke a promise, {time.monotonic() - began:.1f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
