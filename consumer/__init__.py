"""Read Twilio's "Call API Request" events from Amazon Kinesis.

Begin with the process: `cli` (arguments in, exit code out) → `app` (wiring; `adapters` creates stream, lease table and
sinks) → `worker` (start and stop) → `fleet.coordinator` (which shards this worker reads).
Then follow a record: `shard.consumer` (the steps of one shard) → `shard.reader` (its next response) →
`decoding.deaggregation`, `decoding.decoder` (bytes to rows) → `shard.batch_assembly` (when a batch ends) →
`pipeline.intake`, `pipeline.batching` (rows to a batch) → `pipeline.delivery` (sink, then checkpoint).
Or follow a lease: `fleet.shard_sync`, `fleet.shard_rows` (its row is created) → `fleet.assignment` (which worker should
have it) → `fleet.lease_taker` → `fleet.renewer` → `shard.held_lease` (checkpoints under it) → `shard.handoff`,
`fleet.drain` → `shard.shard_end`, `fleet.lineage` (its row can be deleted). `leases.lease` has the states of a row.
A record that a policy rejects stops its shard in `shard.halting`, decided by `pipeline.rejections`.
What became a dead letter comes back by `cli.dead_letters` → `dead_letters.redrive`.
An operator shows, moves and copies checkpoints by `cli.checkpoints` → `checkpoints.checkpoints`; a
replay is a worker whose `replay.bounded_stream` ends.
The ports are `streams`, `leases`, `sinks` and `dead_letters`; the values that all share are in `records` and `errors`.
"""
