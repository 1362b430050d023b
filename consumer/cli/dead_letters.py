"""`call-consumer dead-letters`: list, show, redrive, purge and export dead letters."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from consumer.adapters import dead_letter_store
from consumer.cli import redriving
from consumer.cli.consent import DryRun, Yes, proceed
from consumer.cli.letter_filters import Ids, Reasons, Shards, Since, Until, selection
from consumer.cli.letter_views import described, detailed, lines, listed
from consumer.cli.options import Config, Stream, with_some_settings
from consumer.cli.tables import print_rows
from consumer.dead_letters import DeadLetterStore, StoredDeadLetter
from consumer.dead_letters.attempt import attempt
from consumer.dead_letters.ledger import WRITTEN, Ledger, read_only
from consumer.dead_letters.stored import to_line
from consumer.errors import ConfigurationError
from consumer.files.disk import reason_of
from consumer.settings import load
from consumer.telemetry import logs

REDRIVING = [
    *("dead_letters", "sink", "leases", "application", "raw", "redact", "redact_key_file", "batch_rows", "batch_bytes"),
    *("region", "endpoint_url", "stream_role_arn", "leases_role_arn"),
]
MOST_LISTED = 1_000  # lines of a table for people, unless they ask for more
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Most lines [default: 1000; all with --json].", metavar="COUNT")]
LedgerFile = Annotated[
    Path | None,
    typer.Option("--ledger", help="Where redrives are remembered [default: beside the dead letters].", metavar="FILE"),
]
Reveal = Annotated[bool, typer.Option("--reveal", help="Show personal data: values, partition key and bytes.")]
Redriven = Annotated[bool, typer.Option("--redriven", help="Only those that were redriven.")]
Target = Annotated[Path, typer.Argument(help="New file, or - for standard output.", metavar="FILE", allow_dash=True)]
Unchecked = Annotated[
    bool,
    typer.Option(
        "--without-checkpoints",
        help="Compare no checkpoints: only if no worker runs, or there is no lease table (Lambda).",
    ),
]


def command() -> None:
    """List, show, redrive, purge or export dead letters."""


@with_some_settings(["dead_letters"])
def list_(
    ids: Ids = None,
    reason: Reasons = None,
    shard: Shards = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = None,
    as_json: Json = False,
    ledger: LedgerFile = None,
    config: Config = None,
    **flags: Any,
) -> None:
    """Print one line per dead letter, without personal data."""
    chosen = selection(ids, reason, shard, since, until)
    with _opened(flags, config, ledger) as (store, known):
        found = (letter for letter in store.letters() if letter in chosen)
        most = limit or (None if as_json else MOST_LISTED)
        shown = described if as_json else listed
        print_rows((shown(letter, known.entries(letter.id)) for letter in islice(found, most)), as_json)
        if next(found, None) is not None:
            logs.say(f"there are more than {most} dead letters: raise --limit, or narrow the filters")


@with_some_settings(["dead_letters", "raw"])
def show(
    ids: Ids = None,
    reason: Reasons = None,
    shard: Shards = None,
    since: Since = None,
    until: Until = None,
    reveal: Reveal = False,
    as_json: Json = False,
    ledger: LedgerFile = None,
    config: Config = None,
    **flags: Any,
) -> None:
    """Print dead letters in detail, and what they become today.

    Values are masked, so that the shape of an event is visible and its content is not.
    """
    chosen, raw = selection(ids, reason, shard, since, until), bool(flags.get("raw"))
    with _opened(flags, config, ledger) as (store, known):
        found = (letter for letter in store.letters() if letter in chosen)
        shown = ((letter, known.entries(letter.id), attempt(letter, raw), reveal) for letter in found)
        if as_json:
            print_rows((detailed(*each) for each in shown), as_json)
            return
        for number, each in enumerate(shown):
            typer.echo("\n".join([*([""] if number else []), *lines(*each)]))


@with_some_settings(REDRIVING)
def redrive(
    stream: Stream = None,
    ids: Ids = None,
    reason: Reasons = None,
    shard: Shards = None,
    since: Since = None,
    until: Until = None,
    unchecked: Unchecked = False,
    ledger: LedgerFile = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    config: Config = None,
    **flags: Any,
) -> None:
    """Decode dead letters again, and write their rows to the sink.

    Take only those that their shard's checkpoint has passed. A ledger remembers what is written, so running it again
    writes the rest. Exit with code 3 if the sink fails for a minute.
    """
    settings = load({"stream": stream, **flags}, config)
    chosen = selection(ids, reason, shard, since, until)
    redriving.run(settings, chosen, ledger, compare=not unchecked, yes=yes, dry_run=dry_run)


@with_some_settings(["dead_letters"])
def purge(
    ids: Ids = None,
    reason: Reasons = None,
    shard: Shards = None,
    since: Since = None,
    until: Until = None,
    only_redriven: Redriven = False,
    ledger: LedgerFile = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    config: Config = None,
    **flags: Any,
) -> None:
    """Delete dead letters for good."""
    chosen = selection(ids, reason, shard, since, until)
    with _opened(flags, config, ledger) as (store, known):
        done = {letter.id: _is_redriven(letter, known) for letter in store.letters() if letter in chosen}
        doomed = {name for name, redriven in done.items() if redriven or not only_redriven}
        lost = sum(not done[name] for name in doomed)
        plan = [f"delete {len(doomed)} dead letters, {lost} of which were not redriven: their events are lost"]
        if doomed and proceed(plan, yes, dry_run):
            logs.say(f"deleted {store.delete(lambda letter: letter.id in doomed)}")
        elif not doomed:
            logs.say("no dead letter fits")


@with_some_settings(["dead_letters"])
def export(
    file: Target,
    ids: Ids = None,
    reason: Reasons = None,
    shard: Shards = None,
    since: Since = None,
    until: Until = None,
    config: Config = None,
    **flags: Any,
) -> None:
    """Copy dead letters to a file of JSON lines.

    They have all data. `decode FILE` and `--dead-letters jsonl:FILE` read it.
    """
    chosen = selection(ids, reason, shard, since, until)
    with _opened(flags, config, None) as (store, _), _output(file) as output:
        count = 0
        for count, letter in enumerate((each for each in store.letters() if each in chosen), 1):  # noqa: B007
            output.write(to_line(letter) + b"\n")
        output.flush()
    logs.say(f"exported {count} dead letters")


COMMANDS = {"list": list_, "show": show, "redrive": redrive, "purge": purge, "export": export}


@contextmanager
def _opened(flags: dict[str, Any], config: str | None, ledger: Path | None) -> Iterator[tuple[DeadLetterStore, Ledger]]:
    """Open the dead letters, and their ledger for reading."""
    store = dead_letter_store(load(flags, config), logs.say)
    try:
        with read_only(ledger or store.ledger) as known:
            yield store, known
    finally:
        store.close()


def _is_redriven(letter: StoredDeadLetter, known: Ledger) -> bool:
    return any(entry.state == WRITTEN for entry in known.entries(letter.id))


@contextmanager
def _output(file: Path) -> Iterator[BinaryIO]:
    """Open the file to write to. It is new, and only its owner can read it, because dead letters are personal."""
    if str(file) == "-":
        if sys.stdout is None:
            raise ConfigurationError("standard output is closed; name a file")
        yield sys.stdout.buffer
        return
    try:
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as output:
            yield output
            output.flush()
            os.fsync(output.fileno())
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ConfigurationError(f"{file}: {reason_of(error)}") from None
