"""Run one simulated fleet from one seed, and check the guarantees after it."""

from collections import Counter

from consumer.fleet.lineage import runnable
from consumer.leases.memory import MemoryLeaseTable
from consumer.sinks import Deduplication
from tests.simulation.fleet import LEASE, SimFleet, SimWorker, start_worker
from tests.simulation.kcl import KclWorker
from tests.simulation.sinks import Store
from tests.simulation.stream import Faults, SimStream
from tests.simulation.world import Process, Silent, World

TROUBLE = 70.0  # seconds with events and faults
QUIET = 150.0  # seconds after which everything must be delivered
CALM = 35.0  # seconds after the last fault and freeze until every open shard has an owner and no lease moves
PAUSE = 13.0  # seconds of pause for a worker while another process with its id takes its leases
CALM_BESIDE_KCL = 90.0  # a KCL 2.x takes one lease every 20 s

RATES = {
    "throttle": 0.03,
    "expire": 0.01,
    "stream": 0.01,
    "sparse": 0.1,
    "childless": 0.3,
    "incomplete": 0.02,
    "nothing at all": 0.02,
    "no iterator": 0.02,
    "wrong lag": 0.05,
    "part of a listing": 0.05,
    "table": 0.02,
    "slow table": 0.03,
    "slow stream": 0.01,
    "lost response": 0.02,
    "slow sink": 0.02,
    "sink before": 0.03,
    "sink after": 0.02,
    "death": 0.02,
}
# Faults that never excuse a repeat.
HARMLESS = {"throttle", "expire", "stream", "slow stream", "slow table", "sparse", "childless"}
HARMLESS |= {"incomplete", "nothing at all", "no iterator", "wrong lag", "part of a listing"}


def simulate(seed: int, verbose: bool = False) -> list[str]:
    """Run one fleet; return the guarantees that it broke, as sentences."""
    world = World(seed)
    orderly = seed % 4 == 0  # only reshards, joins and drains, so nothing excuses a repeat
    beside_kcl = seed % 10 in (7, 9)  # 2.x or 3.x; a KCL repeats rows, which only a sink that deduplicates rows absorbs
    rates = {kind: rate for kind, rate in RATES.items() if not orderly or kind in HARMLESS}
    kinds = list(Deduplication)
    fleet = SimFleet(
        world,
        SimStream(world, world.rng.randint(1, 4)),
        MemoryLeaseTable(),
        Store(Deduplication.BY_ROW if beside_kcl else kinds[seed % 3]),
        Store(Deduplication.BY_ROW if beside_kcl else kinds[seed // 3 % 2]),
        Faults(world, rates),
        Silent(world, verbose),
    )
    fleet.faults.opened = lambda shard_id: _check_open(fleet, shard_id)
    for number in range(world.rng.randint(1, 3)):
        fleet.workers.append(start_worker(world, f"w{number}", fleet))
    if beside_kcl:
        _add_kcl(fleet, three=seed % 10 == 9)
    _plan_troubles(fleet, orderly)
    _supervise(fleet)
    _put_records(fleet)
    world.run_until(world.now + TROUBLE)
    fleet.faults.quiet = True
    _supervise(fleet)
    quiet_since = max([world.now, *(worker.process.frozen_until for worker in _alive(fleet))])
    while world.now < quiet_since + QUIET and not _settled(fleet):
        world.run_until(world.now + 2.0)
    calm = CALM_BESIDE_KCL if beside_kcl else CALM
    world.run_until(max(world.now, quiet_since + calm) + LEASE)
    broken = _broken(fleet) + _restless(fleet, world.now - LEASE)
    _pass(fleet)  # last, so that this pause excuses no earlier repeat
    world.run_until(world.now + PAUSE + calm)
    return world.violations + broken + _broken(fleet) + _unread(fleet)


def _put_records(fleet: SimFleet) -> None:
    world = fleet.world
    made = 0

    def put() -> None:
        nonlocal made
        ids = []
        for _ in range(world.rng.choice([1, 1, 1, 2, 5])):
            kind = world.rng.choices(["e", "x", "s", "r"], [90, 4, 3, 3])[0]
            ids.append(f"{kind}{made}")
            made += 1
        fleet.stream.put(ids)

    for _ in range(150):
        world.at(world.now + world.rng.uniform(0, TROUBLE - 5), put)


def _plan_troubles(fleet: SimFleet, orderly: bool) -> None:
    world = fleet.world
    acts = [fleet.stream.split, fleet.stream.merge, lambda: _join(fleet), lambda: _drain(fleet)]
    if not orderly:
        acts += [lambda: _kill(fleet), lambda: _freeze(fleet), lambda: _return(fleet), lambda: _pass(fleet)]
    for _ in range(world.rng.randint(2, 7)):
        world.at(world.now + world.rng.uniform(1, TROUBLE), world.rng.choice(acts))


def _supervise(fleet: SimFleet) -> None:
    """Start a worker if none runs; check this every few seconds."""
    if not _alive(fleet):
        _join(fleet)
    if not fleet.faults.quiet:
        fleet.world.at(fleet.world.now + 7.0, lambda: _supervise(fleet))


def _add_kcl(fleet: SimFleet, three: bool) -> None:
    """Add one to three KCL workers, before or after our own, and maybe kill one of them."""
    world = fleet.world
    for number in range(world.rng.randint(1, 3)):
        kcl = KclWorker(fleet, Process(f"kcl{number}"), three)
        fleet.kcls.append(kcl)
        world.at(world.now + world.rng.choice([0.0, 20.0]), kcl.start)
    if world.rng.random() < 0.5:
        world.at(world.now + world.rng.uniform(30, TROUBLE), lambda: setattr(kcl.process, "alive", False))


def _alive(fleet: SimFleet) -> list[SimWorker]:
    return [worker for worker in fleet.workers if worker.process.alive and not worker.draining]


def _join(fleet: SimFleet) -> None:
    fleet.workers.append(start_worker(fleet.world, f"w{len(fleet.workers)}", fleet))


def _drain(fleet: SimFleet) -> None:
    if workers := _alive(fleet):
        worker = fleet.world.rng.choice(workers)
        worker.coordinator.drain(until=fleet.world.now + 23)
        worker.leave(fleet.world)


def _kill(fleet: SimFleet) -> None:
    if workers := _alive(fleet):
        fleet.world.rng.choice(workers).process.alive = False
        fleet.world.causes.append("kill")


def _return(fleet: SimFleet) -> None:
    """Kill a worker and start another with its id."""
    if workers := _alive(fleet):
        worker = fleet.world.rng.choice(workers)
        worker.process.alive = False
        fleet.world.causes.append("kill")
        fleet.workers.append(start_worker(fleet.world, worker.process.name, fleet))


def _freeze(fleet: SimFleet) -> None:
    if workers := _alive(fleet):
        worker = fleet.world.rng.choice(workers)
        worker.process.frozen_until = fleet.world.now + fleet.world.rng.choice([2.0, LEASE + 1, 30.0])
        fleet.world.causes.append("freeze")


def _pass(fleet: SimFleet) -> None:
    """Pause a worker, probably during a call, and start another with its id. The paused one continues later."""
    if workers := _alive(fleet):
        worker = max(workers, key=lambda worker: worker.coordinator.leases)
        worker.process.frozen_until = fleet.world.now + PAUSE
        fleet.world.causes.append("freeze")
        fleet.workers.append(start_worker(fleet.world, worker.process.name, fleet))


def _check_open(fleet: SimFleet, shard_id: str) -> None:
    """Check that an opened shard has not ended, and that its parents have.

    A KCL takes leases without a request, so a shard that it has ended may be opened until the next renewal fails.
    """
    rows = {row.shard_id: row for row in fleet.table.scan()}
    shard = fleet.stream.shards[shard_id]
    if shard_id in fleet.finished and "freeze" not in fleet.world.causes:
        fleet.world.violated(f"finished shard {shard_id} is read again")
    for parent in shard.shard.parents:
        if parent in rows and not rows[parent].ended:
            fleet.world.violated(f"{shard_id} is read before its parent {parent} has ended")


def _settled(fleet: SimFleet) -> bool:
    delivered = {row.event_id for row in fleet.rows.rows} | {_bare(row.event_id) for row in fleet.dead.rows}
    missing = [event_id for event_id in fleet.stream.produced if event_id not in delivered and event_id[0] != "s"]
    rows = {row.shard_id: row for row in fleet.table.scan()}
    ended = all(name in rows and rows[name].ended for name, shard in fleet.stream.shards.items() if shard.closed)
    return not missing and ended


def _bare(event_id: str) -> str:
    return event_id.removeprefix("dead:")


def _broken(fleet: SimFleet) -> list[str]:
    broken = []
    if not _settled(fleet):
        delivered = {row.event_id for row in fleet.rows.rows} | {_bare(row.event_id) for row in fleet.dead.rows}
        lost = [event_id for event_id in fleet.stream.produced if event_id not in delivered and event_id[0] != "s"]
        broken.append(f"lost: {len(lost)}, such as {lost[:3]}" if lost else "a closed shard never came to its end")
    broken += _repeated(fleet.rows, fleet) + _repeated(fleet.dead, fleet) + _disordered(fleet)
    return broken


def _restless(fleet: SimFleet, since: float) -> list[str]:
    """Return violations of: without faults every open shard has a live owner, and no lease moves."""
    broken = _unread(fleet)
    restless = [move for move in fleet.moves if move.at > since]
    if restless and not any(kcl.three for kcl in fleet.kcls):
        broken.append(f"leases still move: {restless[:3]}")
    return broken


def _unread(fleet: SimFleet) -> list[str]:
    alive = {worker.process.name for worker in _alive(fleet)}
    alive |= {kcl.name for kcl in fleet.kcls if kcl.process.alive}
    orphans = [row.shard_id for row in runnable(fleet.table.scan()) if row.owner not in alive]
    return [f"no worker reads {orphans}"] if orphans else []


def _repeated(store: Store, fleet: SimFleet) -> list[str]:
    counts = Counter(row.event_id for row in store.rows)
    twice = [event_id for event_id, count in counts.items() if count > 1]
    excused = set(fleet.world.causes) - HARMLESS
    if twice and (store.repeats is not Deduplication.APPENDS or not excused):
        return [f"{store.repeats.value}: {len(twice)} rows more than once, such as {twice[:3]}"]
    return []


def _disordered(fleet: SimFleet) -> list[str]:
    """Return violations of the order: within a shard by sequence number, and parents before children."""
    last: dict[str, int] = {}
    first_at: dict[str, int] = {}
    last_at: dict[str, int] = {}
    seen: set[str] = set()
    broken = []
    for index, row in enumerate(fleet.rows.rows):
        if row.event_id in seen:
            continue
        seen.add(row.event_id)
        if row.sequence < last.get(row.shard_id, 0):
            broken.append(f"out of order in {row.shard_id}: {row.event_id}")
        last[row.shard_id] = row.sequence
        first_at.setdefault(row.shard_id, index)
        last_at[row.shard_id] = index
    broken += [
        f"{name} was delivered before its parent {parent} was finished"
        for name, shard in fleet.stream.shards.items()
        for parent in shard.shard.parents
        if name in first_at and last_at.get(parent, -1) > first_at[name]
    ]
    return broken[:3]
