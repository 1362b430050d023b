"""Measurements; `make bench` and docs/benchmarks.md."""
