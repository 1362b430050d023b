"""Write the checkpoints of an application to a JSON document, and read them back."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ValidationError

from consumer.checkpoints.plan import FIELDS, Move, Plan
from consumer.errors import ConfigurationError
from consumer.leases import Lease, Pending
from consumer.records import FULL_HASH_RANGE, Position, PositionKind

SENTINELS = [kind.name for kind in PositionKind if kind is not PositionKind.SEQUENCE]


def position_of(text: str) -> Position:
    """Return the position that `text_of` wrote: SEQUENCE.SUBSEQUENCE, or a name such as SHARD_END.

    Raises:
        ValueError: it is none.
    """
    if text in SENTINELS:
        return Position(PositionKind[text])
    sequence, _, sub_sequence = text.partition(".")
    if not (sequence.isascii() and sequence.isdigit()):
        raise ValueError(f"is neither SEQUENCE.SUBSEQUENCE nor one of {', '.join(SENTINELS)}")
    return Position.of(int(sequence), int(sub_sequence))


def text_of(position: Position) -> str:
    """Return a position as text."""
    return str(position) if position.kind is PositionKind.SEQUENCE else position.kind.name


def _checked(text: str) -> str:
    position_of(text)
    return text


PositionText = Annotated[str, AfterValidator(_checked)]


class PendingBatch(BaseModel, extra="forbid"):
    """A batch that was prepared and not checkpointed: its last record, name, and the version of its decoder."""

    end: PositionText
    name: str
    version: str = ""


class Checkpoint(BaseModel, extra="forbid"):
    """The checkpoint of one shard, with the fields of `Lease` that do not belong to an owner."""

    shard_id: str
    checkpoint: PositionText
    parents: list[str] = []
    children: list[str] = []
    hash_range: tuple[str, str] = (str(FULL_HASH_RANGE[0]), str(FULL_HASH_RANGE[1]))
    pending: PendingBatch | None = None
    started_at: AwareDatetime | None = None
    read_to: AwareDatetime | None = None
    lost_from: AwareDatetime | None = None
    lost_to: AwareDatetime | None = None


class Document(BaseModel, extra="forbid"):
    """The checkpoints of one application on one stream."""

    format: Literal["call-consumer checkpoints 1"] = "call-consumer checkpoints 1"
    application: str
    stream: str
    stream_created_at: AwareDatetime | None
    exported_at: AwareDatetime
    checkpoints: list[Checkpoint]


def exported(rows: Iterable[Lease], application: str, stream: str, now: datetime) -> Document:
    """Return the document for these rows, sorted by shard."""
    rows = sorted(rows, key=lambda row: row.shard_id)
    created = next((row.stream_created_at for row in rows if row.stream_created_at is not None), None)
    return Document(
        application=application,
        stream=stream,
        stream_created_at=created,
        exported_at=now,
        checkpoints=[_checkpoint(row) for row in rows],
    )


def _checkpoint(row: Lease) -> Checkpoint:
    pending = row.pending
    return Checkpoint(
        shard_id=row.shard_id,
        checkpoint=text_of(row.checkpoint),
        parents=sorted(row.parents),
        children=sorted(row.children),
        hash_range=(str(row.hash_range[0]), str(row.hash_range[1])),
        pending=pending and PendingBatch(end=text_of(pending.end), name=pending.name, version=pending.version),
        started_at=row.started_at,
        read_to=row.read_to,
        lost_from=row.lost_from,
        lost_to=row.lost_to,
    )


def parsed(text: bytes, label: str) -> Document:
    """Return the document in a file. `label` names the file in messages.

    Raises:
        ConfigurationError: it is no such document.
    """
    try:
        return Document.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ConfigurationError(
            f"{label}: {where}: {first['msg']}: name a file that `checkpoints export` wrote"
        ) from None


def import_plan(document: Document, rows: Mapping[str, Lease], created_at: datetime, title: str) -> Plan:
    """Return the plan that makes the table what the document says. `created_at`: when the stream was created."""
    goals = [_lease(item, created_at) for item in document.checkpoints]
    wanted = {goal.shard_id for goal in goals}
    moves = [Move(rows.get(goal.shard_id), _on(rows.get(goal.shard_id), goal), goal.read_to) for goal in goals]
    removals = _oldest_first([row for row in rows.values() if row.shard_id not in wanted])
    return Plan(title, [move for move in moves if move.needed], removals, None, "the file does not have it")


def _lease(item: Checkpoint, created_at: datetime) -> Lease:
    return Lease(
        item.shard_id,
        position_of(item.checkpoint),
        tuple(sorted(item.parents)),
        tuple(sorted(item.children)),
        (int(item.hash_range[0]), int(item.hash_range[1])),
        pending=_pending(item.pending),
        started_at=item.started_at,
        stream_created_at=created_at,
        read_to=item.read_to,
        lost_from=item.lost_from,
        lost_to=item.lost_to,
    )


def _pending(batch: PendingBatch | None) -> Pending | None:
    return None if batch is None else Pending(position_of(batch.end), batch.name, batch.version)


def _on(row: Lease | None, goal: Lease) -> Lease:
    """Return the row with the checkpoint of the goal."""
    return goal if row is None else replace(row, **{name: getattr(goal, name) for name in FIELDS})


def _oldest_first(rows: Sequence[Lease]) -> list[Lease]:
    """Return rows with parents before their children. A shard's number grows with its age of creation."""
    return sorted(rows, key=lambda row: row.shard_id)
