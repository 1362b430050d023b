"""Run tasks on threads, and give them clock, backoff and memory budget."""
