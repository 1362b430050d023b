"""Process records under Amazon's MultiLangDaemon: KCL holds the leases, and our pipeline delivers the rows.

The daemon is a Java process. It starts one process per shard that it leases, and exchanges one JSON object per line
with it over standard input and output. Read `wire`, then `checkpointer`, then `record_processor`. `properties` writes
the daemon's configuration from our settings. The protocol is documented at
https://github.com/awslabs/amazon-kinesis-client/tree/master/amazon-kinesis-client-multilang
"""
