"""One leased shard: read, decode, buffer, deliver."""
