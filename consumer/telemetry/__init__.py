"""What the program tells of itself: counts and logs. Never a value of an event."""
