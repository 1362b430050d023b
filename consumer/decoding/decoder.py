"""Decode Kinesis records into blocks of rows. Small records share a block; a large one is decoded piece by piece."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from consumer.decoding.block_draft import ENOUGH_BYTES, BlockDraft
from consumer.decoding.deaggregation import deaggregate
from consumer.decoding.event_decoder import LARGE, EventDecoder, Outcome
from consumer.decoding.locations import EncodedRow, encoded_row
from consumer.decoding.personal_data import NO_REDACTION, Redaction
from consumer.records import DeadLetter, Decoded, Position, PositionKind, Record, Shard, Skipped, UserRecord, from_epoch

Outcomes = Iterator[tuple[UserRecord, Outcome]]


class Decoder:
    """Decode the records of one shard.

    `raw`: add the original event to each row. `keep_data`: keep the user record of each row in its block.
    `redaction`: remove personal data from rows.
    """

    def __init__(
        self,
        stream_name: str,
        shard: Shard,
        raw: bool = False,
        keep_data: bool = True,
        redaction: Redaction = NO_REDACTION,
    ) -> None:
        self._hash_range, self._keep_data = shard.hash_range, keep_data
        self._events = EventDecoder(stream_name, shard.shard_id, raw, redaction)
        self._fast = self._events.fast

    def __call__(self, backlog: deque[Record], after: Position, most: int, /) -> Iterable[Decoded]:
        """Take whole records from the front of `backlog` until they make `most` rows, and decode them.

        Leave out user records up to and including `after`. Iterate once: a large record is decoded piece by piece.
        """
        while backlog and backlog[0].sequence < after.sequence:  # 0 for a position without a sequence number
            backlog.popleft()
        if not backlog:
            return ()
        first = backlog[0]
        if len(first.data) > LARGE or (after.kind is PositionKind.SEQUENCE and first.sequence == after.sequence):
            return self._alone(backlog.popleft(), after)
        draft = BlockDraft(self._keep_data, most)
        while backlog and len(backlog[0].data) <= LARGE and not draft.full:
            if not self._add_usual(backlog, draft):
                self._add(backlog.popleft(), draft)
        return (draft.decoded(),)

    def _add_usual(self, backlog: deque[Record], draft: BlockDraft) -> int:
        """Decode plain records as long as the fast path takes them. Return their number."""
        fast, rows, room, size = self._fast, [], draft.room, 0
        for record in islice(backlog, room):
            data = record.data
            if len(data) > LARGE or size > ENOUGH_BYTES:
                break
            row = fast(data, str(record.sequence), 0, record.partition_key, from_epoch(record.arrived_at))
            if row is None:
                break
            rows.append(row)
            size += len(data)
        if rows:
            draft.add_usual([backlog.popleft() for _ in rows], rows)
        return len(rows)

    def outcomes(self, record: Record | UserRecord) -> Iterator[EncodedRow | DeadLetter | Skipped]:
        """Yield the outcomes of one record one by one."""
        if isinstance(record, UserRecord):
            found: Outcomes = self._events.outcomes([record], record.data)
        else:
            found = self._opened(record, 0)[2]
        for _, outcome in found:
            yield outcome if isinstance(outcome, DeadLetter | Skipped) else encoded_row(outcome)

    def user_records(self, user_records: Sequence[UserRecord]) -> Iterator[Decoded]:
        """Decode the user records of one Kinesis record, whose aggregate is split already."""
        last, draft = user_records[-1], BlockDraft(self._keep_data)
        draft.begin(last.sequence, Position.of(last.sequence, last.sub_sequence), last.arrived_at, len(user_records))
        return _pieces(draft, self._events.outcomes(user_records, b""))

    def _alone(self, record: Record, after: Position) -> Iterable[Decoded]:
        """Decode one record, piece by piece, without its user records up to and including `after`."""
        first = after.sub_sequence + 1 if record.sequence == after.sequence else 0
        count, outside, outcomes = self._opened(record, first)
        if first >= count:
            return ()
        draft = BlockDraft(self._keep_data)
        draft.begin(record.sequence, Position.of(record.sequence, count - 1), record.arrived_at, count, outside)
        return _pieces(draft, outcomes)

    def _opened(self, record: Record, first: int) -> tuple[int, int, Outcomes]:
        """Return the numbers of all user records and of those out of range, and the outcomes from the `first` on."""
        try:
            found, count, outside = deaggregate(record, self._hash_range)
        except Exception as error:
            whole = UserRecord(record.sequence, 0, record.partition_key, record.arrived_at, record.data)
            return 1, 0, iter([(whole, self._events.dead_letter(error, whole, 0))])
        return count, outside, self._events.outcomes(islice(found, first, None), record.data)

    def _add(self, record: Record, draft: BlockDraft) -> None:
        """Decode a small record. From the first event that is not for the fast path on, take the careful way."""
        sequence = record.sequence
        try:
            found, count, outside = deaggregate(record, self._hash_range)
        except Exception:
            draft.begin(sequence, Position.of(sequence), record.arrived_at)
            draft.add_all(self._opened(record, 0)[2])
            return
        draft.begin(sequence, Position.of(sequence, count - 1), record.arrived_at, count, outside)
        fast, number, arrived_at, rows = self._fast, str(sequence), from_epoch(record.arrived_at), []
        user_records = list(found)
        for part in user_records:
            row = fast(part.data, number, part.sub_sequence, part.partition_key, arrived_at)
            if row is None:
                break
            rows.append(row)
        draft.add_rows(rows, user_records)
        if len(rows) < count:
            draft.add_all(self._events.outcomes(user_records[len(rows) :], record.data))


def _pieces(draft: BlockDraft, outcomes: Outcomes) -> Iterator[Decoded]:
    for user_record, outcome in outcomes:
        if draft.would_mix(outcome):
            yield draft.decoded()
            draft = draft.next()
        draft.add(outcome, user_record.data)
        if draft.full:
            yield draft.decoded()
            draft = draft.next()
    if not draft.empty:
        yield draft.decoded()
