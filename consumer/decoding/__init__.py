"""Decode Twilio's format: bytes become rows, dead letters or skipped events. No module here does I/O."""
