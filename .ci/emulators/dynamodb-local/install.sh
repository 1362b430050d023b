#!/usr/bin/env bash
# Installs DynamoDB Local into .emulators/dynamodb-local/, pinned by version and hash. Needs Maven and a JDK >= 17.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
into=$here/../../../.emulators/dynamodb-local
if [ -e "$into/classes/LoopbackDynamoDb.class" ]; then exit 0; fi
mkdir -p "$into/lib" "$into/classes"
mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$(cd "$into" && pwd)/lib" -DincludeScope=runtime
(cd "$into/lib" && sha256sum --quiet --check "$here/SHA256SUMS")
javac -cp "$into/lib/*" -d "$into/classes" "$here/../LoopbackDynamoDb.java"
