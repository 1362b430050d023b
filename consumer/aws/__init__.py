"""Call Kinesis and DynamoDB with botocore: clients, credentials, endpoints, and errors in our own terms.

`access` creates clients. `credentials` shares credentials, which `renewal` renews and `providers`, `metadata` and
`credential_process` load. `calls` translates errors, with the messages of `reasons` and `network` and the error codes
of `codes`. `variables` finds invalid environment variables of botocore.
"""
