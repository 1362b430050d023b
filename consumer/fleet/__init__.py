"""Decide which shards this worker reads, and share them with its peers."""
