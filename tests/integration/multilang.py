"""Amazon's MultiLangDaemon with its children, in a process group that only we start and stop, and its lease table."""

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
# What makes KCL 3 start, fail over and find children within seconds instead of minutes: as KCL 2 does it, without the
# election of a leader, whose lock outlives a killed process by two minutes.
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
    """Fetch the daemon's jars, once."""
    need(all(shutil.which(program) for program in ("java", "mvn")), "Java with Maven")
    needs.install(INSTALLERS / "multilang" / "install.sh")


def service(name: Any, url: str) -> Any:
    """A client of an AWS service that is ours."""
    return boto3.client(
        name, endpoint_url=url, region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test"
    )


def make_lease_table(dynamodb_url: str, name: str, shards: Sequence[str]) -> None:
    """A lease table with a row for each shard, as KCL makes it, but for the up to 30 s that it waits before it does."""
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
    """One daemon with its children, in a process group of its own."""

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
        """How many lines of its log, its children's included, hold this text."""
        return sum(text in line for line in self.log.read_text(errors="replace").splitlines())

    def kill(self) -> None:
        """Kill it and its children in the middle of whatever they do."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """Ask it to end, as a service manager would."""
        self.process.terminate()
        return self.process.wait(45)

    def over(self) -> bool:
        """It has ended."""
        return self.process.poll() is not None
