"""Start real servers and KCL workers for benchmarks, as processes that stop with the benchmark."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config

REGION = "us-east-1"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
}


@contextmanager
def server(name: str) -> Iterator[str]:
    """Yield the URL of a new `kinesis-local` or `dynamodb-local`."""
    command = [sys.executable, "-m", "tests.servers", name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        if not url:
            sys.exit(f"{name} does not start: see the lines above")
        try:
            yield url
        finally:
            process.stdin.close()
            process.wait(30)


def kcl_worker(**options: object) -> list[str]:
    """Return the command of a worker of Amazon's KCL. Options are those of KclWorker.java."""
    return [sys.executable, "-m", "tests.interop.kcl", *(f"{name}={value}" for name, value in options.items())]


def environment() -> dict[str, str]:
    """Return the environment of a worker, with credentials that the servers accept."""
    return {**os.environ, **CREDENTIALS}


def kinesis_client(url: str) -> Any:
    """Return a Kinesis client. It retries, because kinesis-local closes connections that were idle for 5 s."""
    return boto3.client(
        "kinesis",
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 3}),
    )
