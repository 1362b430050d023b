"""The servers that tests start: each listens on loopback, yields its URL, and ends with its test."""
