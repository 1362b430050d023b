"""What Kinesis and DynamoDB have in common: sessions, credentials, endpoints, and what the errors of botocore mean.

`access` makes clients, `credentials` keeps what they sign with, `calls` goes around each call, `reasons` and `network`
find the words, `codes` says what error codes mean.
"""
