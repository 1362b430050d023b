#!/usr/bin/env bash
# Installs dynalite, a DynamoDB without the newer answers, into .emulators/dynalite/, pinned by version and hash.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
into=$here/../../../.emulators/dynalite
if [ -e "$into/node_modules/dynalite/cli.js" ]; then exit 0; fi
mkdir -p "$into"
cp "$here/package.json" "$here/package-lock.json" "$into/"
cd "$into" && npm ci --silent --no-audit --no-fund
