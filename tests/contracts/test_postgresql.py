"""Hold the PostgreSQL sink to the contract, directly, through PgBouncer, and without the TEMP privilege."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace

import msgspec
import pytest

from consumer.adapters import connect_dead_letters
from consumer.dead_letters.stored import to_line
from consumer.errors import ConfigurationError, RowsRejected, SinkUnavailable
from consumer.sinks import postgresql as postgresql_sink
from consumer.sinks.postgresql_schema import script
from consumer.testing import SinkContract, SinkPlace
from consumer.urls import options_of, parse
from tests.contracts.postgresql_place import CALLS, LETTERS, Lines, Place, calls, changed, letter
from tests.servers.breaking_proxy import BreakingProxy
from tests.servers.postgresql import PostgreSql, pgbouncer

POISON: dict[str, dict[str, object]] = {
    "too large a number": {"error_code": 2**70},
    "no time": {"occurred_at": "yesterday +15551234567"},
    "a key that no index holds": {"event_id": "".join(chr(0x4E00 + n * 7919 % 20000) for n in range(4000))},
    "no list": {"twiml_verbs": "+15551234567"},
}


@pytest.fixture(scope="session")
def bouncer(postgresql_server: PostgreSql) -> Iterator[str]:
    with pgbouncer(postgresql_server) as address:
        yield address


@pytest.fixture
def place(postgresql_server: PostgreSql) -> Place:
    return Place(postgresql_server)


class TestPostgresql(SinkContract):
    """The shipped suite. Trouble breaks the connection before COMMIT arrives, and after it has succeeded."""

    @pytest.fixture(params=["direct", "pgbouncer", "without TEMP", "replace"])
    def place(self, request: pytest.FixtureRequest, postgresql_server: PostgreSql) -> Iterator[SinkPlace]:
        host = request.getfixturevalue("bouncer") if request.param == "pgbouncer" else postgresql_server.address
        proxy = BreakingProxy(int(host.rpartition(":")[2]))
        place = Place(postgresql_server, f"127.0.0.1:{proxy.port}")
        user, options = "admin", "&on_conflict=replace" if request.param == "replace" else ""
        if request.param == "without TEMP":
            place.run("REVOKE TEMP ON DATABASE postgres FROM public")
            user = f"plain_{place.namespace}"
            place.run(f"CREATE ROLE {user} LOGIN; GRANT CREATE ON DATABASE postgres TO {user}")

        def trouble() -> AbstractContextManager[None]:
            return proxy.breaking(b"COMMIT")

        yield place.contract(trouble, options, user)
        proxy.close()


def test_rows_have_types_that_people_can_query(place: Place) -> None:
    """Times, JSON and lists are PostgreSQL's own, and each column says what it holds."""
    place.opened().write(Lines([changed(calls(1)[0], request_parameters={"To": "x"}, twiml_verbs=["Say", "Dial"])]))
    [row] = place.run(
        "SELECT occurred_at + interval '1 hour' > occurred_at, request_parameters->>'To', twiml_verbs[2], arrived_at,"
        " response_status + 1, warnings, event FROM call_requests"
    )
    assert row[:3] == (True, "x", "Dial")
    assert row[3].isoformat().startswith("2026-02-02T")
    assert (row[4], row[6]) == (202, None)
    assert isinstance(row[5], list)
    comments = place.run(
        "SELECT count(*) FROM pg_description d JOIN pg_class c ON c.oid = d.objoid"
        f" WHERE relnamespace = '{place.namespace}'::regnamespace AND objsubid > 0"
    )
    assert comments == [(len(CALLS.fields) + 1,)]


def test_dead_letters_are_written_once(place: Place) -> None:
    """Their key is their location and their reason. They may share a schema with rows."""
    rows, letters = place.opened(), place.opened(LETTERS)
    assert letters.write(Lines([letter(1), letter(2, data="eA==\0")])) == 0
    assert letters.write(Lines([letter(2), letter(3)])) == 1
    assert rows.write(Lines(calls(3))) == 0
    assert place.run("SELECT count(*), min(rejected_at)::date::text FROM dead_letters") == [(3, "2026-01-01")]


def test_stored_dead_letters_are_read_and_deleted(place: Place) -> None:
    """The commands for dead letters read the table as it is, and skip what is none."""
    told: list[str] = []
    written = [
        letter(n, sequence_number=str(n), data="eA==", arrived_at=f"2026-01-01T00:00:0{n}.120Z") for n in range(5)
    ]
    place.opened(LETTERS).write(Lines([*written, letter(9)]))
    store = connect_dead_letters(place.url(), told.append)
    assert [to_line(each) for each in store.letters()] == [msgspec.json.encode(json.loads(line)) for line in written]
    assert len(told) == 1
    assert "not a dead letter: skipped" in told[0]
    assert store.delete(lambda each: each.sequence_number in ("1", "3")) == 2
    assert [each.sequence_number for each in store.letters()] == ["0", "2", "4"]
    assert place.run("SELECT count(*) FROM dead_letters") == [(4,)]
    assert str(store.ledger) == "postgres.dead_letters.redriven.db"
    with pytest.raises(ConfigurationError, match="does not exist"):
        list(connect_dead_letters(Place(place.server).url(), told.append).letters())


@pytest.mark.parametrize("size", [100, 1000], ids=["parameter", "staged"])
def test_only_rows_that_no_column_can_hold_are_rejected(place: Place, size: int) -> None:
    """They are named with PostgreSQL's reason, which holds none of their values."""
    lines = list(calls(size))
    poisoned = dict(zip(range(7, size, size // 5), POISON.values(), strict=False))
    for index, values in poisoned.items():
        lines[index] = changed(lines[index], **values)
    with pytest.raises(RowsRejected) as raised:
        place.opened().write(Lines(lines))
    assert set(raised.value.rejected) == set(poisoned)
    assert all(why.startswith("PostgreSQL cannot store it: ") for why in raised.value.rejected.values())
    assert not any("1555" in why or "yesterday" in why for why in raised.value.rejected.values())
    assert place.run("SELECT count(*) FROM call_requests") == [(size - len(poisoned),)]


def test_characters_that_text_cannot_hold_are_replaced(place: Place) -> None:
    """NUL and lone surrogates become U+FFFD with a warning code, at any depth, and nothing else changes."""
    sound = changed(calls(3)[1], response_body="\\u0000 \\ud800 😀", warnings=["odd-sid"])
    lines = [
        changed(calls(1)[0], response_body="a\0\\\0", request_parameters={"k\0": ["\0", "\\u0000"]}),
        sound.replace("😀".encode(), b"\\ud83d\\ude00"),
        changed(calls(3)[2], response_body="LOW HIGH", warnings=["odd-sid"])
        .replace(b"LOW", b"\\uDC00x")
        .replace(b"HIGH", b"\\ud83d"),
    ]
    place.opened().write(Lines(lines))
    assert place.run("SELECT response_body, request_parameters, warnings FROM call_requests ORDER BY event_id") == [
        ("a�\\�", {"k�": ["�", "\\u0000"]}, ["invalid-unicode"]),
        ("\\u0000 \\ud800 😀", place.run("SELECT request_parameters FROM call_requests")[1][0], ["odd-sid"]),
        ("�x �", place.run("SELECT request_parameters FROM call_requests")[2][0], ["odd-sid", "invalid-unicode"]),
    ]


def test_replace_corrects_rows_and_leaves_equal_ones_alone(place: Place) -> None:
    """This is how a replay corrects rows after a decoder was mended. Without --raw it keeps the original event."""
    raw = place.opened(replace(CALLS, fields=(*CALLS.fields, "event")))
    raw.write(Lines([changed(line, event={"id": 1}) for line in calls(1000)]))
    before = place.run("SELECT event_id, xmin FROM call_requests ORDER BY event_id")
    corrected = [changed(calls(1000)[0], error_message="corrected"), *calls(1001)[1:], calls(1000)[5]]
    assert place.opened(options="&on_conflict=replace").write(Lines(corrected)) == 1001
    after = place.run("SELECT event_id, xmin FROM call_requests ORDER BY event_id")
    assert [one != other for one, other in zip(before, after, strict=False)] == [True] + [False] * 999
    assert len(after) == 1001
    assert place.run("SELECT event, error_message FROM call_requests ORDER BY event_id LIMIT 1") == [
        ({"id": 1}, "corrected")
    ]


def test_a_rule_that_others_added_rejects_rows_but_never_all_of_them(place: Place) -> None:
    """A constraint that fits no row is a mistake, and would fill the dead letters."""
    sink = place.opened()
    place.run("ALTER TABLE call_requests ADD CONSTRAINT never CHECK (resource_sid <> 'CA13')")
    with pytest.raises(RowsRejected) as raised:
        sink.write(Lines([calls(2)[0], changed(calls(2)[1], resource_sid="CA13")]))
    assert set(raised.value.rejected) == {1}
    assert "never" in raised.value.rejected[1]
    place.run("ALTER TABLE call_requests ADD CONSTRAINT none CHECK (false) NOT VALID")
    with pytest.raises(SinkUnavailable, match="rejects every row: CheckViolation"):
        sink.write(Lines(calls(9)[5:]))
    assert place.run("SELECT count(*) FROM call_requests") == [(1,)]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("DROP TABLE call_requests; CREATE TABLE call_requests (event_id text)", "another program made it"),
        ("DROP TABLE call_requests; CREATE VIEW call_requests AS SELECT 1 AS event_id", "another program made it"),
        ("COMMENT ON TABLE call_requests IS 'ours'", "lost its comment"),
        ("COMMENT ON TABLE call_requests IS 'call-consumer; call_requests version 9.'", "it has version 9"),
        ("ALTER TABLE call_requests DROP COLUMN error_code", "lacks the column error_code"),
        ("ALTER TABLE call_requests ALTER COLUMN action TYPE varchar(9)", "has the type character varying"),
        ("ALTER TABLE call_requests ADD COLUMN tenant int NOT NULL", "tenant is not ours"),
        ("ALTER TABLE call_requests DROP CONSTRAINT call_requests_pkey", "primary key is missing"),
    ],
)
def test_a_table_that_is_not_ours_is_refused(place: Place, change: str, problem: str) -> None:
    """It is found at the start, and stays as it is."""
    place.opened()
    place.run(change)
    with pytest.raises(ConfigurationError, match=problem) as raised:
        place.open().check()
    assert place.namespace in str(raised.value)


def test_columns_that_an_insert_may_leave_out_are_welcome(place: Place) -> None:
    """Teams add what their tools need."""
    place.opened()
    place.run("ALTER TABLE call_requests ADD COLUMN seen bool, ADD COLUMN day date NOT NULL DEFAULT now()")
    assert place.opened().write(Lines(calls(3))) == 0


def test_a_user_who_may_not_create_uses_a_table_of_the_printed_script(place: Place) -> None:
    """The script makes the same table. The documented privileges are enough, also without TEMP and for replace."""
    place.opened()
    other = Place(place.server)
    place.run(f"CREATE ROLE worker_{other.namespace} LOGIN; CREATE SCHEMA {other.namespace}")
    user = f"worker_{other.namespace}"
    place.run(f"GRANT USAGE ON SCHEMA {other.namespace} TO {user}")
    with pytest.raises(ConfigurationError, match=r"permission denied for schema .*docs/postgresql.md#permissions"):
        other.open(user=user).check()
    url = parse("--sink", other.url())
    place.run(script(postgresql_sink.table_of(options_of(url, postgresql_sink.Options), CALLS)))
    with pytest.raises(ConfigurationError, match="permission denied for table"):
        other.open(user=user).check()
    place.run(f"GRANT SELECT, INSERT, UPDATE ON {other.namespace}.call_requests TO {user}")
    assert other.opened(user=user, options="&on_conflict=replace").write(Lines(calls(1000))) == 0
    described = (
        "SELECT attname, atttypid, attcollation, col_description(attrelid, attnum) FROM pg_attribute"
        " WHERE attrelid = '{}.call_requests'::regclass AND attnum > 0 ORDER BY attnum"
    )
    assert place.run(described.format(place.namespace)) == place.run(described.format(other.namespace))


def test_workers_that_start_at_once_create_one_table(place: Place) -> None:
    """The others wait for the one that creates schema and table."""
    sinks = [place.open(contents, f"&application_name=w{n}") for n in range(4) for contents in (CALLS, LETTERS)]
    with ThreadPoolExecutor(len(sinks)) as threads:
        list(threads.map(lambda sink: sink.check(), sinks))
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname = %s"
    assert place.run(tables, place.namespace) == [(2,)]


def test_many_shards_share_few_connections(place: Place) -> None:
    """There are no more connections than writers, although rows and dead letters are two sinks."""
    name = f"&application_name={place.namespace}"
    rows, letters = place.opened(options=name), place.opened(LETTERS, name)

    def write(number: int) -> None:
        letters.write(Lines([letter(number)]))
        rows.write(Lines(calls(300, 300 * number)))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert place.run("SELECT count(*) FROM call_requests") == [(1200,)]
    open_now = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
    assert 1 <= place.run(open_now, place.namespace)[0][0] <= 4
