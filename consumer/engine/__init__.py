"""The engine decides *when*: which shard is read next, who holds which lease, when a batch goes out, when all stops.

It knows ports only, and no clock but the one it is given, so a whole fleet runs in virtual time (tests/simulation).
Read `worker`, then `coordinator`, then `shard_consumer` and `delivery`.
"""
