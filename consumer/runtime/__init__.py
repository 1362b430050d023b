"""What everything runs on: tasks on threads, back-off, memory budget, clock."""
