"""Start servers for tests. Each listens on loopback, yields its URL, and ends with its test."""
