#!/usr/bin/env bash
# Runs what install.sh made, in the foreground, on loopback: start.sh PORT READY_HOOKS
# READY_HOOKS is a folder of scripts, mounted in a container at /etc/localstack/init/ready.d.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
installed=$(cd "$here/../../../.emulators/localstack" && pwd)
mkdir -p "$installed/home" "$installed/root/etc/localstack/init"
rm -rf "$installed/home/.cache"
ln -sfn "$(cd "$2" && pwd)" "$installed/root/etc/localstack/init/ready.d"
# awslocal, which the hooks use, finds the port in AWS_ENDPOINT_URL.
exec env HOME="$installed/home" PATH="$installed/venv/bin:$PATH" FILESYSTEM_ROOT="$installed/root" OVERRIDE_IN_DOCKER=0 \
  GATEWAY_LISTEN="127.0.0.1:$1" AWS_ENDPOINT_URL="http://127.0.0.1:$1" SERVICES=kinesis,dynamodb,s3 EAGER_SERVICE_LOADING=1 \
  DISABLE_EVENTS=1 SKIP_SSL_CERT_DOWNLOAD=1 DNS_ADDRESS=0 NODE_OPTIONS="-r $here/../loopback.js" \
  "$installed/venv/bin/python" "$here/loopback.py"
