"""Run Amazon's MultiLangDaemon with its children in a separate process group, and create its lease table."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import boto3

from tests import needs
from tests.integration.workers import environment
from tests.needs import INSTALLERS, ROOT, need

JARS = ROOT / ".emulators" / "multilang" / "lib"
# Settings with which KCL 3 starts, fails over and finds children within seconds, as KCL 2 does. They avoid the election
# of a leader, whose lock stays for two minutes after a kill.
HURRY = {
    "clientVersionConfig": "CLIENT_VERSION_CONFIG_COMPATIBLE_WITH_2X",
    "leaseAssignmentIntervalMillis": "1000",
    "shardSyncIntervalMillis": "1000",
    "parentShardPollIntervalMillis": "500",
    "workerMetricsReporterFreqInMillis": "500",
    "inMemoryWorkerMetricsCaptureFrequencyMillis": "250",
    "schedulerInitializationBackoffTimeMillis": "200",
    "idleTimeBetweenReadsInMillis": "250",
}
REGION = "us-east-1"
FRUGAL = ["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]


def install() -> None:
    """Install the daemon's jars if they are missing."""
    need(all(shutil.which(program) for program in ("java", "mvn")), "Java with Maven")
    needs.install(INSTALLERS / "multilang" / "install.sh")


def service(name: Any, url: str) -> Any:
    """Return a client of an emulated AWS service."""
    return boto3.client(
        name, endpoint_url=url, region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test"
    )


def make_lease_table(dynamodb_url: str, name: str, shards: Sequence[str]) -> None:
    """Create a lease table with a row per shard, as KCL does after a wait of up to 30 s."""
    client = service("dynamodb", dynamodb_url)
    key = [{"AttributeName": "leaseKey", "KeyType": "HASH"}]
    types = [{"AttributeName": "leaseKey", "AttributeType": "S"}]
    client.create_table(TableName=name, KeySchema=key, AttributeDefinitions=types, BillingMode="PAY_PER_REQUEST")
    for shard in shards:
        row = {"leaseKey": {"S": shard}, "checkpoint": {"S": "TRIM_HORIZON"}}
        numbers = ("leaseCounter", "ownerSwitchesSinceCheckpoint", "checkpointSubSequenceNumber")
        client.put_item(TableName=name, Item=row | {number: {"N": "0"} for number in numbers})
    client.close()


class Daemon:
    """One daemon with its children, in a separate process group."""

    def __init__(self, directory: Path, arguments: Sequence[str], dynamodb_url: str) -> None:
        command = [sys.executable, "-m", "consumer", "kcl-daemon", "--region", REGION, *arguments]
        made = subprocess.run(
            [*command, "--properties"], cwd=directory, env=environment(), capture_output=True, text=True, check=True
        )
        changes = {**HURRY, "dynamoDBEndpoint": dynamodb_url}
        file = directory / "kcl.properties"
        file.write_text(made.stdout + "\n" + "\n".join(f"{key} = {value}" for key, value in changes.items()))
        java = ["java", *FRUGAL, "-cp", f"{JARS}/*", "software.amazon.kinesis.multilang.MultiLangDaemon"]
        self.log = directory / f"daemon-{len(list(directory.glob('daemon-*')))}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*java, "--properties-file", str(file)],
                cwd=directory,
                env=environment(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def said(self, text: str) -> int:
        """Return how many lines of its log, with those of its children, contain this text."""
        return sum(text in line for line in self.log.read_text(errors="replace").splitlines())

    def kill(self) -> None:
        """Kill it and its children."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """Send SIGTERM, as a service manager does. Return the exit code."""
        self.process.terminate()
        return self.process.wait(45)

    def over(self) -> bool:
        """Return whether it has ended."""
        return self.process.poll() is not None
