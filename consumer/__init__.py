"""Read Twilio's "Call API Request" events from Amazon Kinesis. Read the package in the order in which a record passes:

`cli` (arguments in, exit code out) → `app` (wiring; `adapters` creates what the settings name) → `worker` (the life of
the process) → `fleet.coordinator` (which shards this worker reads) → `shard.consumer` (one shard) → `shard.reader` (its
next response) → `decoding.deaggregation`, `decoding.decoder` (bytes to rows) → `pipeline.batching` (rows to a batch) →
`pipeline.delivery` (sink, then checkpoint).
The ports are `streams`, `leases` and `sinks`; the values that all share are in `records` and `errors`.
"""
