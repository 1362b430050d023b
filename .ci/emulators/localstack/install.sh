#!/usr/bin/env bash
# Installs LocalStack 4.14.0, the last that needs no account, into .emulators/localstack: without docker, pinned by
# version and hash. Needs Python 3.13 (PYTHON313, or found on PATH or in pyenv), npm, Maven and a JDK from 17 on.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
into=$here/../../../.emulators/localstack
if [ -e "$into/.done" ]; then exit 0; fi

python313() { # the interpreter's own path: a version manager's shim answers for whatever version is chosen
  for candidate in "${PYTHON313:-}" "$(command -v python3.13 || true)" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.13*/bin/python3.13; do
    if [ -n "$candidate" ] && "$candidate" -c 'import sys, venv; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null; then
      "$candidate" -c 'import sys; print(sys.executable)' && return
    fi
  done
  echo "LocalStack needs Python 3.13: on others it says that it is ready and then fails calls" >&2
  return 1
}

rm -rf "$into"
mkdir -p "$into"
into=$(cd "$into" && pwd)
library=$into/root/var/lib/localstack/lib # where LocalStack looks for what it would download

"$(python313)" -m venv "$into/venv"
"$into/venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r "$here/requirements.txt"

kinesis=$library/kinesis-local/0.5.2
mkdir -p "$kinesis"
cp "$here/package.json" "$here/package-lock.json" "$kinesis/"
(cd "$kinesis" && npm ci --silent --no-audit --no-fund)

dynamo=$library/dynamodb-local/2
mkdir -p "$dynamo" "$into/build" "$library/java"
mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DincludeScope=runtime \
  -DoutputDirectory="$dynamo/DynamoDBLocal_lib"
(cd "$dynamo/DynamoDBLocal_lib" && sha256sum --quiet --check "$here/jars.sha256")
javac -cp "$dynamo/DynamoDBLocal_lib/*" -d "$into/build" "$here/../LoopbackDynamoDb.java" "$here/NoAgent.java"
{
  echo "Main-Class: LoopbackDynamoDb"
  echo "Class-Path: "
  (cd "$dynamo" && printf '  %s\n' DynamoDBLocal_lib/*.jar)
} >"$into/build/main.mf"
echo "Premain-Class: NoAgent" >"$into/build/agent.mf"
jar cfm "$dynamo/DynamoDBLocal.jar" "$into/build/main.mf" -C "$into/build" LoopbackDynamoDb.class
jar cfm "$dynamo/ddb-local-loader-0.1.jar" "$into/build/agent.mf" -C "$into/build" NoAgent.class
ln -sfn "$(dirname "$(dirname "$(readlink -f "$(command -v java)")")")" "$library/java/21"
touch "$into/.done"
