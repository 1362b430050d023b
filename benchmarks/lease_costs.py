"""Measure the cost of leases on DynamoDB: request units per hour, and the CPU of renewals.

`python -m benchmarks.lease_costs` prints two tables. It computes units from the bytes of real items and the worker's
intervals. DynamoDB Local first confirms both formulas on the same items: a write costs one unit per KiB of the item, an
eventually consistent scan half a unit per 4 KiB of the table (AWS, read and write operations). A statement of a batch
counts as one write, as AWS documents; DynamoDB Local does not count it.
"""

import math
import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks.servers import server
from consumer.fleet.running_shards import Fleet
from consumer.fleet.scan_interval import scan_interval
from consumer.leases import Change, Lease, Scope, Token, WorkerIdentity
from consumer.leases import lease as steps
from consumer.leases.dynamodb.client import dynamodb_client
from consumer.leases.dynamodb.item import KEY, item_of
from consumer.leases.dynamodb.provisioning import Options
from consumer.leases.dynamodb.table import DynamoDbLeaseTable
from consumer.records import Position

ME = WorkerIdentity("worker-7d9f8b6c5d-x2x4p", "0123456789abcdef0123456789abcdef")
NOW = datetime(2026, 3, 1, 12, 30, 15, 123456, UTC)
SHARDS, WORKERS = (4, 100, 1000), (1, 3)
CHECKPOINT_INTERVAL = 1.0  # seconds; a busy shard delivers a batch each second
ROUNDS, RENEWED = 10, 300


def row(number: int) -> Lease:
    """Return a typical lease: the child of a split, read by this worker."""
    return Lease(
        f"shardId-{number:012}",
        checkpoint=Position.of(49680496975027674397376848095312609131966749380125392898, 9),
        parents=(f"shardId-{number + 5000:012}",),
        hash_range=(85070591730234615865843651857942052863, 170141183460469231731687303715884105725),
        owner=ME.worker_id,
        counter=123_456,
        token=Token(*ME, 123_456),
        started_at=NOW,
        stream_created_at=NOW,
        read_to=NOW,
        throughput=55.123456,
    )


def size(item: Mapping[str, Mapping[str, Any]]) -> int:
    """Return the bytes of an item as DynamoDB counts them: names and values in UTF-8, about half a byte per digit."""
    return sum(len(name.encode()) + _value_size(value) for name, value in item.items())


def _value_size(value: Mapping[str, Any]) -> int:
    [(kind, content)] = value.items()
    if kind == "N":
        return math.ceil(len(str(content).replace(".", "").strip("0")) / 2) + 1
    if kind == "SS":
        return sum(len(member.encode()) for member in content)
    return 1 if kind == "BOOL" else len(content if kind == "B" else content.encode())


def write_units(item_bytes: int) -> int:
    """Return the units of one conditional update."""
    return math.ceil(item_bytes / 1024)


def scan_units(table_bytes: int) -> float:
    """Return the units of one eventually consistent scan."""
    return math.ceil(table_bytes / 4096) / 2


def confirm(client: Any, table: str, rows: int) -> None:
    """Compare both formulas with the units that DynamoDB Local reports."""
    item_bytes = size(item_of(row(0)))
    scanned = client.scan(TableName=table, ReturnConsumedCapacity="TOTAL")["ConsumedCapacity"]["CapacityUnits"]
    written = client.update_item(
        TableName=table,
        Key={KEY: {"S": row(0).shard_id}},
        UpdateExpression="SET leaseCounter = leaseCounter",
        ReturnConsumedCapacity="TOTAL",
    )["ConsumedCapacity"]["CapacityUnits"]
    assert written == write_units(item_bytes), (written, item_bytes)
    assert abs(scanned - scan_units(rows * item_bytes)) <= 0.02 * scanned + 0.5, (scanned, rows * item_bytes)


def print_units() -> None:
    """Print the units per hour of a fleet: idle (renewals and scans), and with every shard busy (plus checkpoints)."""
    fleet = Fleet(ME)
    item_bytes = size(item_of(row(0)))
    print(
        f"A lease item of {item_bytes} bytes, renewed each {fleet.timings.renewal_interval:.2f} s; requests an hour:\n"
    )
    print("| shards | workers | seconds between scans | renewals: WRU | scans: RRU | checkpoints when busy: WRU |")
    print("|---:|---:|---:|---:|---:|---:|")
    for shards in SHARDS:
        for workers in WORKERS:
            renewals = shards * 3600 / fleet.timings.renewal_interval * write_units(item_bytes)
            checkpoints = shards * 3600 / CHECKPOINT_INTERVAL * write_units(item_bytes)
            interval = scan_interval(fleet.timings, [row(number) for number in range(shards)], workers)
            scans = 3600 / interval + 3600 / fleet.audit_interval
            reads = workers * scans * scan_units(shards * item_bytes)
            print(f"| {shards:,} | {workers} | {interval:g} | {renewals:,.0f} | {reads:,.0f} | {checkpoints:,.0f} |")


def print_cpu(table: DynamoDbLeaseTable, how: str) -> None:
    """CPU and time of renewing, for this process alone (the server has its own)."""
    rows = [lease for lease in table.scan() if lease.owner == ME.worker_id][:RENEWED]
    cpu, wall = time.process_time(), time.perf_counter()
    for number in range(ROUNDS):
        read_to = NOW + timedelta(seconds=rows[0].counter + number)
        written = table.write([Change(lease, steps.renewed(lease, ME, read_to)) for lease in rows])
        assert all(answer.done for answer in written)
        rows = [answer.row for answer in written if answer.row is not None]
    cpu, wall = (time.process_time() - cpu) / ROUNDS, (time.perf_counter() - wall) / ROUNDS
    share = cpu / Fleet(ME).timings.renewal_interval
    each = wall / len(rows)
    print(f"| {how} | {cpu * 1e3:.0f} ms | {share:.1%} | {wall * 1e3:.0f} ms | {each * 1e3:.2f} ms |")


def main() -> None:
    """Print both tables."""
    os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    with server("dynamodb-local") as url:
        client = dynamodb_client(Scope("calls", "calls", 10.0, "us-east-1", url), None, None)
        table = DynamoDbLeaseTable(client, "lease-costs", Options())
        table.check()
        for number in range(RENEWED):
            table.create(row(number))
        confirm(client, "lease-costs", RENEWED)
        print_units()
        print(f"\nOne worker that renews {RENEWED} leases on DynamoDB Local, on average of {ROUNDS} rounds:\n")
        print("| calls | CPU a round | of a core | time a round | time a lease |\n|---|---:|---:|---:|---:|")
        print_cpu(table, "25 statements each")
        single = DynamoDbLeaseTable(client, "lease-costs", Options())  # not checked: it has not asked for batches
        print_cpu(single, "one update each")
        cpu = time.process_time()
        for _ in range(ROUNDS):
            table.scan()
        print(f"\nA scan of {RENEWED} rows: {(time.process_time() - cpu) / ROUNDS * 1e3:.0f} ms of CPU.")


if __name__ == "__main__":
    main()
