"""Read one leased shard: fetch, decode, buffer, deliver."""
