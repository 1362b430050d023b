#!/usr/bin/env bash
# Installs the Kinesis emulator of the tests into .emulators/, pinned by version and hash.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
into=$here/../../.emulators/kinesis
if [ -e "$into/node_modules/kinesis-local/main.js" ]; then exit 0; fi
mkdir -p "$into"
cp "$here/package.json" "$here/package-lock.json" "$into/"
cd "$into" && npm ci --silent --no-audit --no-fund
