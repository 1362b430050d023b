"""Provide the sinks of objects, each in a new directory, bucket or container that tests can read and break."""

import gzip
import io
import itertools
import json
import os
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import obstore
import pyarrow.parquet as pq
import pytest
from obstore.store import AzureStore

from consumer.sinks import Sink
from consumer.sinks.objects import az, directory, s3
from consumer.testing import SinkPlace
from tests.contracts.places import OPEN, connect
from tests.servers import azurite
from tests.servers.faulty_proxy import Fault, FaultyProxy

NUMBERS = itertools.count(1)
ROW_SUFFIXES = (".jsonl.gz", ".jsonl", ".parquet")

Objects = Callable[[], Iterable[tuple[str, bytes]]]  # names and contents, sorted by name


def ids_in(name: str, content: bytes) -> list[int]:
    """Return the ids in an object. An object of another suffix has none."""
    if name.endswith(".parquet"):
        return [int(number) for number in pq.read_table(io.BytesIO(content)).column("id").to_pylist()]
    if name.endswith(".jsonl.gz"):
        content = gzip.decompress(content)
    elif not name.endswith(".jsonl"):
        return []
    return [json.loads(line)["id"] for line in content.splitlines()]


def place_of(open_sink: Callable[[], Sink], objects: Objects, trouble: Any) -> SinkPlace:
    """Return a place whose reader reads every object."""
    return SinkPlace(open_sink, lambda: [number for found in objects() for number in ids_in(*found)], trouble)


def file_place(root: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> SinkPlace:
    """Provide a directory."""
    rows = root / "rows"

    @contextmanager
    def trouble() -> Iterator[None]:
        def broken(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", broken)
            yield

    def objects() -> Iterator[tuple[str, bytes]]:
        for file in sorted(rows.rglob("[!.]*")):
            if file.is_file():
                yield file.name, file.read_bytes()

    return place_of(lambda: connect(directory, f"file:{rows}?format={form}"), objects, trouble)


def s3_client(endpoint: str) -> Any:
    """Return a client of an emulator of S3."""
    client: Any = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    OPEN.append(client)
    return client


def new_bucket(client: Any) -> str:
    """Create a bucket that no other test uses."""
    name = f"rows-{next(NUMBERS)}-{random.SystemRandom().randrange(10**9)}"
    client.create_bucket(Bucket=name)
    return name


def s3_objects(client: Any, bucket: str) -> Iterator[tuple[str, bytes]]:
    """Yield key and content of every object, sorted by key."""
    for found in client.list_objects_v2(Bucket=bucket).get("Contents", ()):
        yield found["Key"], client.get_object(Bucket=bucket, Key=found["Key"])["Body"].read()


def s3_place(endpoint: str, form: str) -> SinkPlace:
    """Provide a bucket, which the sink reaches through a proxy. In trouble, responses to finished requests are lost."""
    client, proxy = s3_client(endpoint), proxy_to(endpoint)
    bucket = new_bucket(client)
    url = f"s3://{bucket}/calls?endpoint_url={proxy.url}&format={form}"
    return place_of(lambda: connect(s3, url), lambda: s3_objects(client, bucket), lambda: lost(proxy))


def az_place(endpoint: str, form: str) -> SinkPlace:
    """Provide a container of azurite."""
    container, host = f"rows-{next(NUMBERS)}", endpoint.rpartition("/")[0]
    azurite.create_container(endpoint, container)
    proxy = proxy_to(host)
    url = f"az://{container}/calls?account={azurite.ACCOUNT}&format={form}&endpoint_url="
    reader = AzureStore(
        container,
        config={"account_name": azurite.ACCOUNT, "account_key": azurite.KEY, "endpoint": endpoint},
        client_options={"allow_http": True},
    )

    def objects() -> Iterator[tuple[str, bytes]]:
        for name in sorted(str(found["path"]) for found in obstore.list(reader).collect()):
            yield name, bytes(obstore.get(reader, name).bytes())

    return place_of(lambda: connect(az, f"{url}{proxy.url}/{azurite.ACCOUNT}"), objects, lambda: lost(proxy))


def proxy_to(endpoint: str) -> FaultyProxy:
    """Return a proxy that the test's fixture closes."""
    proxy = FaultyProxy(endpoint, random.Random(1))
    OPEN.append(proxy)
    return proxy


@contextmanager
def lost(proxy: FaultyProxy) -> Iterator[None]:
    """Carry out requests, but lose their responses."""
    proxy.suffer(Fault.LOST)
    yield
    proxy.heal()
