"""Which shards this worker reads, and how it shares them with its peers."""
