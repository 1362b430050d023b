#!/usr/bin/env bash
# Create the stream for the worker. LocalStack runs this once, when it is ready.
set -euo pipefail
stream=${STREAM:-twilio-events}
if ! awslocal kinesis describe-stream-summary --stream-name "$stream" >/dev/null 2>&1; then
  awslocal kinesis create-stream --stream-name "$stream" --shard-count 2
fi
awslocal kinesis wait stream-exists --stream-name "$stream"
