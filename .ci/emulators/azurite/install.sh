#!/usr/bin/env bash
# Installs azurite, which imitates Azure Blob Storage, into .emulators/azurite/, pinned by version and hash.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
into=$here/../../../.emulators/azurite
if [ -e "$into/node_modules/azurite/dist/src/blob/main.js" ]; then exit 0; fi
mkdir -p "$into"
cp "$here/package.json" "$here/package-lock.json" "$into/"
cd "$into" && npm ci --silent --ignore-scripts --no-audit --no-fund
