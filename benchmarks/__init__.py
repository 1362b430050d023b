"""Measure cost and speed (`make bench`). The results are in docs/benchmarks.md."""
