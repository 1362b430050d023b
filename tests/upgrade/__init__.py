"""Continue the state of an earlier release, and run both releases in one fleet."""
