"""Report what the process does: log, metrics, probes. Nothing here shows a value of an event."""
