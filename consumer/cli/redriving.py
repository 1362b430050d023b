"""Carry out `dead-letters redrive`: show the plan, ask, redrive, and say what happened."""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import typer

from consumer.cli.consent import proceed
from consumer.dead_letters.ledger import Ledger, opened, read_only
from consumer.dead_letters.redrive import Redrive, State
from consumer.dead_letters.selection import Selection
from consumer.decoding.redaction import without_password
from consumer.errors import Retryable
from consumer.process import Exit
from consumer.runtime.backoff import Backoff, RetryPolicy
from consumer.settings import Settings
from consumer.sinks import Deduplication
from consumer.telemetry import logs

PATIENCE = 60.0  # seconds after which a sink that fails ends the run
RETRIES = RetryPolicy(first=0.2, most=5.0)
ONCE = {
    Deduplication.BY_ROW: "the sink recognises rows, so each is written once, also beside the worker",
    Deduplication.BY_BATCH: "the sink recognises batches, so each is written once, also after a kill",
    Deduplication.APPENDS: "the sink keeps duplicates: a batch that was interrupted is written again",
}


def run(
    settings: Settings, selection: Selection, ledger: Path | None, *, compare: bool, yes: bool, dry_run: bool
) -> None:
    """Redrive the selected dead letters of the stream.

    Raises:
        ConfigurationError: a setting is wrong, or there is no terminal to ask on.
        typer.Exit: the sink failed for too long, or the answer was no.
    """
    from consumer.dead_letter_app import create_redrive  # loads botocore, which --help does not need

    chosen = replace(selection, stream=settings.stream.rpartition("/")[2])
    redrive = create_redrive(settings, chosen, compare, logs.say, Patience(time.monotonic, time.sleep))
    file = ledger or redrive.store.ledger
    with closing(redrive.store), closing(redrive.destination.sink):
        with read_only(file) as known:
            planned = redrive.plan(known)
            claimed = sum(known.unfinished(redrive.destination.name).values())
        if not planned[State.READY] + planned[State.NO_DATA] + claimed:
            _finish("nothing to redrive", planned)
        elif proceed(_plan(redrive, settings.dead_letters, planned, claimed), yes, dry_run):
            with opened(file) as writable:
                _redrive(redrive, writable)


def _redrive(redrive: Redrive, ledger: Ledger) -> None:
    try:
        redrive.destination.sink.check()
        redrive.run(ledger)
    except Retryable as error:
        _finish(f"stopped: {error}; run it again to redrive the rest", redrive.counts)
        raise typer.Exit(Exit.NOT_DRAINED) from None
    _finish("done", redrive.counts)


def _plan(redrive: Redrive, place: str, planned: Mapping[State, int], claimed: int) -> Iterator[str]:
    yield f"redrive dead letters of {redrive.selection.stream} from {without_password(place)}"
    yield f"into {redrive.destination.name}: {ONCE[redrive.destination.sink.repeats]}"
    if claimed:
        yield f"{claimed} claimed by a run that was killed: looked up in the sink, or written again"
    yield from (f"{planned[state]} {state.value}" for state in State if planned[state])


def _finish(text: str, counts: Mapping[State, int]) -> None:
    """Print the summary. On a JSON log it has the counts as fields."""
    found = {state: counts[state] for state in State if counts[state]}
    parts = "".join(f"; {count} {state.value}" for state, count in found.items())
    logs.say(f"{text}{parts}", fields={state.name.lower(): count for state, count in found.items()})


class Patience:
    """Wait after each failure of the sink, until failures have lasted for `PATIENCE` seconds without a success."""

    def __init__(self, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self._clock, self._sleep = clock, sleep
        self._backoff, self._since, self._last = Backoff(RETRIES, random.Random()), 0.0, float("-inf")

    def __call__(self, error: Retryable) -> None:
        """Wait before the next attempt.

        Raises:
            Retryable: `error`, because there were too many.
        """
        now = self._clock()
        if now - self._last > 2 * RETRIES.most:  # a success lies between
            self._since = now
            self._backoff.reset()
            logs.say(f"{error}: trying again for {PATIENCE:g} s")
        if now - self._since >= PATIENCE:
            raise error
        self._sleep(error.retry_after or self._backoff.next())
        self._last = self._clock()
