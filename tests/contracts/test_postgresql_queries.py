"""Run the SQL of docs/postgresql.md on a table with rows, and check that its queries use the indexes."""

import pytest

from consumer.errors import ConfigurationError
from tests.contracts.postgresql_place import LETTERS, Lines, Place, calls, letter
from tests.docs.blocks import ROOT, blocks
from tests.servers.postgresql import PostgreSql

# Rows of the last 208 days, one an hour; every 100th is an error.
FILL = """
INSERT INTO call_requests (event_source, event_id, event_type, resource_sid, occurred_at, error_code, error_message)
SELECT 'source', n, 'type', 'CA' || lpad(n::text, 32, '0'), now() - n * interval '1 hour',
       CASE WHEN n % 100 = 10 THEN 21211 END, CASE WHEN n % 100 = 10 THEN 'wrong number' END
FROM generate_series(1, 5000) AS n;
INSERT INTO dead_letters (stream_name, shard_id, sequence_number, sub_sequence_number, event_index, reason, rejected_at)
SELECT 'stream', 'shard', n, 0, 0, 'not-json', now() - n * interval '1 hour' FROM generate_series(1, 5000) AS n;
ANALYZE call_requests, dead_letters
"""


@pytest.fixture
def place(postgresql_server: PostgreSql) -> Place:
    return Place(postgresql_server)


@pytest.fixture(scope="module")
def statements() -> dict[str, str]:
    """Return the SQL of the page by its first words."""
    found = [block.text.strip() for block in blocks(ROOT / "docs" / "postgresql.md") if block.language == "sql"]
    return {" ".join(text.split()[:3]): text.rstrip(";") for text in found}


@pytest.fixture
def filled(place: Place) -> Place:
    """Provide both tables with many rows."""
    place.opened()
    place.opened(LETTERS)
    place.run(FILL)
    return place


def plan(place: Place, statement: str) -> str:
    """Return how the server runs a statement."""
    return "\n".join(line for (line,) in place.run(f"EXPLAIN {statement}"))


@pytest.mark.parametrize(
    ("begin", "rows", "index"),
    [
        ("SELECT error_code, min(error_message)", 1, "call_requests_errors"),
        ("SELECT occurred_at, action,", 1, "call_requests_resource_sid"),
        ("SELECT date_trunc('minute', occurred_at)", 0, "call_requests_occurred_at"),
    ],
)
def test_the_queries_of_the_page_use_the_indexes(
    filled: Place, statements: dict[str, str], begin: str, rows: int, index: str
) -> None:
    """They find what the page says."""
    assert len(filled.run(statements[begin])) == rows
    assert index in plan(filled, statements[begin])


def test_the_deletions_of_the_page_remove_only_what_is_old(filled: Place, statements: dict[str, str]) -> None:
    """They find the oldest rows by an index."""
    for table in ("call_requests", "dead_letters"):
        statement = statements[f"DELETE FROM {table}"]
        assert f"using {table}_" in plan(filled, statement)
        filled.run(statement)
        assert filled.run(f"SELECT count(*) FROM {table}") == [(90 * 24 - 1,)]


@pytest.mark.parametrize("options", ["", "&on_conflict=replace"])
def test_the_privileges_of_the_page_are_enough(filled: Place, statements: dict[str, str], options: str) -> None:
    """Without them the start says what is missing."""
    filled.run("DROP ROLE IF EXISTS worker; CREATE ROLE worker LOGIN")
    with pytest.raises(ConfigurationError, match=r"permission denied .*docs/postgresql.md#permissions"):
        filled.open(user="worker").check()
    [grants] = [text for begin, text in statements.items() if begin == "CREATE ROLE worker"]
    here = grants.replace("SCHEMA public", f"SCHEMA {filled.namespace}").replace("DATABASE calls", "DATABASE postgres")
    filled.run(f"DROP ROLE worker; {here}")
    try:
        assert filled.opened(user="worker", options=options).write(Lines(calls(1000))) == 0
        assert filled.opened(LETTERS, options, "worker").write(Lines([letter(2), letter(3)])) == 0
    finally:
        filled.run("DROP OWNED BY worker")
