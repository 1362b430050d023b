"""Write one conditional update in DynamoDB's two languages, expressions and PartiQL."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from consumer.leases import Change, Halt, Lease
from consumer.leases.dynamodb.item import CHECKPOINT, FIELDS, KEY, SHARD_END, Attribute, attributes_of

SEEN = ("counter", "owner", "checkpoint_owner", "token")


@dataclass(frozen=True, slots=True)
class Update:
    """One conditional update of one item: attributes to set, to remove, and to compare first (None means absent).

    `revives`: the update would move a row away from SHARD_END, so its condition must reject a row that is there.
    """

    key: str
    sets: Mapping[str, Attribute]
    removes: Collection[str]
    seen: Mapping[str, Attribute | None]
    revives: bool


def update_of(change: Change, revive: bool = False) -> Update:
    """Return the update that writes the differing fields if counter, owners and token are those of `before`.

    A checkpoint also removes any pending checkpoint, even a KCL application's, as KCL does. With `revive` the update
    may move a row away from SHARD_END.
    """
    before, after = change
    fields = {field for field in FIELDS if getattr(before, field) != getattr(after, field)}
    if "checkpoint" in fields:
        fields.add("pending")
    written = attributes_of(after, fields)
    return Update(
        after.shard_id,
        sets={name: value for name, value in written.items() if value is not None},
        removes=sorted(name for name, value in written.items() if value is None),
        seen=attributes_of(before, SEEN),
        revives=not (after.ended or revive),
    )


def halt_update(lease: Lease, halt: Halt | None) -> Update:
    """Return the update that replaces `halted` if it is still that of `lease`."""
    written, seen = (attributes_of(row, ["halted"]) for row in (replace(lease, halted=halt), lease))
    sets = {name: value for name, value in written.items() if value is not None}
    return Update(lease.shard_id, sets, [name for name in written if name not in sets], seen, revives=True)


def expressions(table: str, update: Update) -> dict[str, Any]:
    """Return the arguments of UpdateItem, without those that select return values."""
    values: dict[str, Attribute] = {}
    names: dict[str, str] = {}

    def name(attribute: str) -> str:
        names[f"#{attribute}"] = attribute
        return f"#{attribute}"

    def value(mark: str, attribute: Attribute) -> str:
        values[mark] = attribute
        return mark

    sets = [f"{name(key)} = {value(f':new_{key}', new)}" for key, new in update.sets.items()]
    removes = [name(key) for key in update.removes]
    conditions = [f"attribute_exists({name(KEY)})"]
    for key, seen in update.seen.items():
        absent = seen is None
        conditions.append(
            f"attribute_not_exists({name(key)})" if absent else f"{name(key)} = {value(f':seen_{key}', seen or {})}"
        )
    if update.revives:
        conditions.append(f"{name(CHECKPOINT)} <> {value(':ended', SHARD_END)}")
    clauses = (["SET " + ", ".join(sets)] if sets else []) + (["REMOVE " + ", ".join(removes)] if removes else [])
    return {
        "TableName": table,
        "Key": {KEY: {"S": update.key}},
        "UpdateExpression": " ".join(clauses),
        "ConditionExpression": " AND ".join(conditions),
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": values,
    }


def unchanged(lease: Lease) -> dict[str, Any]:
    """Return the arguments of DeleteItem that make it depend on counter, owners and token of the row."""
    request = expressions("", Update(lease.shard_id, {}, (), attributes_of(lease, SEEN), revives=False))
    return {name: value for name, value in request.items() if name not in ("TableName", "Key", "UpdateExpression")}


def statement(table: str, update: Update) -> dict[str, Any]:
    """Return one statement of BatchExecuteStatement. Its response has the item, changed or not."""
    values = list(update.sets.values())
    changes = [f'SET "{name}"=?' for name in update.sets] + [f'REMOVE "{name}"' for name in update.removes]
    conditions = [f'"{KEY}"=?']
    values.append({"S": update.key})
    for name, seen in update.seen.items():
        conditions.append(f'"{name}" IS MISSING' if seen is None else f'"{name}"=?')
        values += [] if seen is None else [seen]
    if update.revives:
        conditions.append(f'"{CHECKPOINT}"<>?')
        values.append(SHARD_END)
    return {
        "Statement": f'UPDATE "{table}" {" ".join(changes)} WHERE {" AND ".join(conditions)} RETURNING ALL NEW *',
        "Parameters": values,
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
