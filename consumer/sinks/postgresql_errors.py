"""Tell what an error of PostgreSQL means for a batch, and describe it without a value of an event.

PostgreSQL quotes values in many messages, so only those of listed classes are shown.
"""

import psycopg
from psycopg import errors

# A value that the columns can never hold, an index entry or a nesting that is too large.
ROW = (errors.DataError, errors.ProgramLimitExceeded, errors.StatementTooComplex)
# A rule that others added to the table: a constraint or a trigger.
RULE = (errors.IntegrityError, errors.RaiseException)
CONFLICT = (errors.SerializationFailure, errors.DeadlockDetected)
# After these errors the connection is as good as before.
HEALTHY = (*ROW, *RULE, *CONFLICT, errors.LockNotAvailable, errors.QueryCanceled)
# Only an operator can help with these: a wrong password, database, name or privilege.
LASTING = ("28", "3D", "3F", "42")
# The classes whose messages are about the server, the login or our own statements.
TOLD = ("08", "25", "28", "3D", "3F", "42", "53", "55", "57", "58")
LONGEST = 400  # characters of a message
REMEDIES = {
    "25006": "the server is read-only, such as a standby; connect to the primary (target_session_attrs=read-write)",
    "28P01": "check the password (URL, PGPASSWORD, passfile)",
    "42501": "grant it, see docs/postgresql.md#permissions",
    "42P01": "the table is gone; restart the worker, or create it by call-consumer sql",
    "42P10": "its primary key is missing; create it again by call-consumer sql",
    "53100": "the server's disk is full",
    "53300": "raise max_connections, or use PgBouncer",
    "55P03": "another transaction holds a lock on the table or on the same rows",
    "57014": "the server took longer than the statement timeout",
}


def words_of(error: psycopg.Error) -> str:
    """Return a message in one line for the operator."""
    state = error.sqlstate
    if state is None:  # an error of the connection
        lines = [line for line in str(error).splitlines() if not line.startswith("\t")]  # the others are guesses
        return " ".join(" ".join(lines).split())[:LONGEST]
    told = error.diag.message_primary if state.startswith(TOLD) else None
    remedy = REMEDIES.get(state)
    return f"{told or type(error).__name__} ({state})"[:LONGEST] + (f": {remedy}" if remedy else "")


def rule_of(error: psycopg.Error) -> str:
    """Return which rule of the table a row breaks. A constraint's name holds no value of an event."""
    name = error.diag.constraint_name or error.diag.column_name or ""
    return f"{type(error).__name__} {name}".strip()


def is_lasting(error: psycopg.Error) -> bool:
    """Return whether only an operator can help."""
    return (error.sqlstate or "").startswith(LASTING)


def why_rejected(error: psycopg.Error) -> str:
    """Return why a row cannot be stored, without its values."""
    return f"PostgreSQL cannot store it: {rule_of(error)} ({error.sqlstate})"
