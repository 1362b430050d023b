#!/usr/bin/env bash
# Installs Amazon's MultiLangDaemon into .emulators/multilang/, pinned by version and hash. Needs Maven and Java >= 11.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
into=$here/../../../.emulators/multilang
if [ -e "$into/complete" ]; then exit 0; fi
mkdir -p "$into/lib"
mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$(cd "$into" && pwd)/lib" -DincludeScope=runtime
(cd "$into/lib" && sha256sum --quiet --check "$here/SHA256SUMS")
touch "$into/complete"
