"""Ports that report their calls to telemetry."""
