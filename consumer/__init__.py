"""A Kinesis worker for Twilio's "Call API Request" events. Read this package in the way of a record:

`cli` (arguments in, exit code out) → `app` (puts everything together) → `engine.worker` (the life of the process) →
`engine.coordinator` (which shards are ours) → `engine.shard_consumer` (one of them) → `engine.reading` (its next
answer) → `pipeline.deaggregation`, `pipeline.decoding`, `pipeline.batching` (what becomes of a record) →
`engine.delivery` (sink, then checkpoint).
The ports are `streams`, `leases` and `sinks`; the values that all share are in `records` and `errors`.
"""
