"""Twilio's format, from bytes to rows, dead letters and skipped events. Pure."""
