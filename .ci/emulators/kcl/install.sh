#!/usr/bin/env bash
# Installs Amazon's KCL and the tests' worker on it into .emulators/kcl-VERSION/, pinned by version and hash.
# Needs Maven and a JDK >= 17. Usage: install.sh [VERSION]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
version=${1:-3.5.1}
peer=$here/../../../tests/interop/peer
into=$here/../../../.emulators/kcl-$version
if [ ! -e "$into/lib/.done" ]; then
  mkdir -p "$into/lib"
  mvn -q -B -Dstyle.color=never -f "$peer/pom.xml" -Dkcl.version="$version" dependency:copy-dependencies \
    -DoutputDirectory="$(cd "$into" && pwd)/lib" -DincludeScope=runtime
  (cd "$into/lib" && sha256sum --quiet --check "$here/SHA256SUMS-$version")
  touch "$into/lib/.done"
fi
if [ ! "$into/classes/KclWorker.class" -nt "$peer/KclWorker.java" ]; then
  mkdir -p "$into/classes"
  javac -cp "$into/lib/*" -d "$into/classes" "$peer/KclWorker.java"
fi
