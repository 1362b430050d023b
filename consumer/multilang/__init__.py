"""This program as a record processor of Amazon's MultiLangDaemon: KCL holds the leases, the pipeline is ours.

The daemon is a Java process that starts one of these for each shard it leases and talks to it over standard input and
output, one JSON object a line. Read `wire`, then `checkpointer`, then `child`; `properties` makes the daemon's
configuration from our settings. The protocol is described, and spoken, in
https://github.com/awslabs/amazon-kinesis-client/tree/master/amazon-kinesis-client-multilang
"""
