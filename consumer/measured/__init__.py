"""Wrappers of the three ports that report calls to telemetry."""
