"""Show, export, reset and import the checkpoints of one application."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime

from consumer.checkpoints.document import Document, exported, import_plan
from consumer.checkpoints.editor import Editor
from consumer.checkpoints.owners import Owners
from consumer.checkpoints.patience import patiently
from consumer.checkpoints.plan import Plan
from consumer.checkpoints.positions import Positions
from consumer.checkpoints.reset import Reset, locate
from consumer.checkpoints.targets import Target
from consumer.errors import ConfigurationError
from consumer.leases import EditableLeaseTable, Lease
from consumer.records import StreamSummary
from consumer.streams import Stream


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """The checkpoints of an application on a stream, both by name. `place`: the lease table's URL, for messages.

    `connect` returns a new client of the stream. `now` returns the time of this machine, in UTC.
    """

    application: str
    stream_name: str
    place: str
    connect: Callable[[], Stream]
    table: EditableLeaseTable
    owners: Owners
    editor: Editor
    now: Callable[[], datetime]

    def rows(self) -> Sequence[Lease]:
        """Return the current rows. Create no table.

        Raises:
            ConfigurationError: there are none.
        """
        rows = self._existing_rows()
        if not rows and not self.table.unreadable():
            raise ConfigurationError(
                f"--leases {self.place}: application {self.application!r} has no checkpoints there: check --application"
            )
        return rows

    def damaged(self) -> Mapping[str, str]:
        """Return the rows that `rows` left out because they cannot be read: a message by shard id."""
        return self.table.unreadable()

    def export(self) -> Document:
        """Return a document with all checkpoints.

        Raises:
            ConfigurationError: there are none, or a row is damaged.
        """
        return exported(self._readable(self.rows()), self.application, self.stream_name, self.now())

    def plan_reset(self, target: Target, shard_ids: Collection[str]) -> Plan:
        """Return the plan of a reset of these shards; of all shards if there are none.

        Raises:
            ConfigurationError: it is not possible, or a live worker has one of the leases.
        """
        if target.sequence is not None and len(shard_ids) != 1:
            raise ConfigurationError(f"--to {target.text}: a sequence number belongs to one shard: name it by --shard")
        some = f"{', '.join(sorted(shard_ids))} of " if shard_ids else ""
        title = f"reset {some}application {self.application!r} on {self.stream_name} to {target.text}:"
        replay = " ".join(
            ["call-consumer replay", self.stream_name, *(f"--shard {name}" for name in sorted(shard_ids))]
        )
        with closing(self.connect()) as stream:

            def plan() -> Plan:
                rows = self._readable(self.rows())
                summary = _summary(stream, [row.stream_created_at for row in rows])
                found = locate(target, Positions(stream, self.editor.sleep), summary)
                by_shard = {row.shard_id: row for row in rows}
                reset = Reset(patiently(stream.shards), by_shard, found, summary.created_at, shard_ids)
                return reset.plan(title, replay)

            return self._without_owners(plan)

    def plan_import(self, document: Document) -> Plan:
        """Return the plan that makes the table what the document says.

        Raises:
            ConfigurationError: the document is of another stream, or a live worker has one of the leases.
        """
        if document.stream != self.stream_name:
            raise ConfigurationError(
                f"the file has checkpoints of stream {document.stream!r}, whose sequence numbers mean nothing on"
                f" {self.stream_name!r}: name that stream"
            )
        with closing(self.connect()) as stream:
            summary = _summary(stream, [document.stream_created_at])
        title = f"import {len(document.checkpoints)} checkpoints into application {self.application!r}, {self.place}:"

        def plan() -> Plan:
            rows = {row.shard_id: row for row in self._readable(self._existing_rows())}
            return import_plan(document, rows, summary.created_at, title)

        return self._without_owners(plan)

    def _without_owners(self, make: Callable[[], Plan]) -> Plan:
        """Return a plan whose leases have no live owner. Make it again if owners may have written meanwhile."""
        plan = make()
        watched = self.owners.require_dead([row.shard_id for row in plan.rows])
        return make() if watched else plan

    def carry_out(self, plan: Plan) -> None:
        """Change the table as planned; create it if it is missing.

        Raises:
            ConfigurationError: a row has changed since the plan was made, or the table fails.
        """
        if not plan.empty:
            patiently(self.table.check)
            self.editor.carry_out(plan)

    def close(self) -> None:
        """Close connections."""
        self.table.close()

    def _existing_rows(self) -> Sequence[Lease]:
        if not patiently(self.table.exists):
            return []
        scanned = [row.shard_id for row in patiently(self.table.scan)]
        return patiently(lambda: self.table.read(scanned))  # a scan may be out of date

    def _readable(self, rows: Sequence[Lease]) -> Sequence[Lease]:
        """Return the rows if none is damaged: nothing is known about the shard of a damaged one."""
        for shard_id, why in self.damaged().items():
            raise ConfigurationError(
                f"--leases {self.place}: the row of {shard_id} is damaged: {why}: repair or delete it first"
            )
        return rows


def _summary(stream: Stream, created: Collection[datetime | None]) -> StreamSummary:
    """Return the stream's description if it is the one that was created then.

    Raises:
        ConfigurationError: it was created again.
    """
    summary = patiently(stream.summary)
    for moment in created:
        if not summary.made_at(moment):
            raise ConfigurationError(
                f"the checkpoints belong to another {summary.name!r}, created at {moment:%F %T}; this one was created"
                f" at {summary.created_at:%F %T}: start with another --application"
            )
    return summary
