"""Advisory locks, keyed by two integers: a class and a number. Locks of one class are taken in the order of numbers.

A transaction's lock goes with its transaction; a session's with its connection, so that a dead process holds none.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from sqlalchemy import Connection, text

from engage_sync.database import pipeline
from engage_sync.database.pipeline import Query, Rows


class LockClass(IntEnum):
    """The first key. The numbers are fixed: old and new processes run side by side over an upgrade."""

    MIGRATION = 4_201
    RESOLVER = 4_202
    DEFINITION = 4_203
    SCHEDULER = 4_204
    WORKER = 4_205
    DEFINITIONS_CHANGE = 4_206
    EMAIL_CHANGE = 4_207
    PRIVACY = 4_208


_ATTEMPT = text("SELECT pg_try_advisory_xact_lock(:lock, :number)")
_SHARE = text("SELECT pg_advisory_xact_lock_shared(:lock, 0)")
_ATTEMPT_EACH = text(
    """
    SELECT number FROM (SELECT unnest(CAST(:numbers AS integer[])) AS number ORDER BY number) AS wanted
    WHERE pg_try_advisory_xact_lock(:lock, number)
    """
)
# A session's lock, given back in the same row.
_PASS = text("SELECT id, pg_advisory_lock(:lock, id), pg_advisory_unlock(:lock, id) FROM definitions ORDER BY id")
_WAIT_FOR_EACH = text(
    """
    SELECT number, pg_advisory_xact_lock(:lock, number)
    FROM (SELECT unnest(CAST(:numbers AS integer[])) AS number ORDER BY number) AS wanted
    """
)


def wait(connection: Connection, lock: LockClass, number: int = 0) -> None:
    """Take the lock for this transaction, waiting for whoever holds it."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock, :number)"), {"lock": int(lock), "number": number})


def sharing(lock: LockClass) -> Query[None]:
    """Takes the lock for this transaction together with others that share it, waiting for whoever has it alone."""
    return Query(_SHARE, {"lock": int(lock)}, pipeline.nothing)


def attempt(connection: Connection, lock: LockClass, number: int = 0) -> bool:
    """Take the lock for this transaction if it is free; say whether it was."""
    return bool(pipeline.rows(connection, _ATTEMPT, {"lock": int(lock), "number": number})[0][0])


def pass_all_definitions(connection: Connection) -> None:
    """Wait for whoever holds a definition just now, one after the other, and hold none.

    Whatever a computation read before this began is written when it ends.
    """
    connection.execute(_PASS, {"lock": int(LockClass.DEFINITION)}).all()


def attempting_each(lock: LockClass, numbers: Sequence[int]) -> Query[set[int]]:
    """Takes those locks that are free for this transaction, in the order of their numbers; says which."""
    return Query(_ATTEMPT_EACH, {"lock": int(lock), "numbers": sorted(numbers)}, _numbers)


def waiting_for_each(lock: LockClass, numbers: Sequence[int]) -> Query[set[int]]:
    """Takes all these locks for this transaction, in the order of their numbers, waiting for whoever holds them."""
    return Query(_WAIT_FOR_EACH, {"lock": int(lock), "numbers": sorted(numbers)}, _numbers)


def attempt_each(connection: Connection, lock: LockClass, numbers: Sequence[int]) -> set[int]:
    """Take those locks that are free for this transaction, in the order of their numbers; say which."""
    return pipeline.ask(connection, attempting_each(lock, numbers))


def wait_for_session(connection: Connection, lock: LockClass, number: int = 0) -> None:
    """Take the lock for as long as the connection lives or until `release`."""
    connection.execute(text("SELECT pg_advisory_lock(:lock, :number)"), {"lock": int(lock), "number": number})


def attempt_for_session(connection: Connection, lock: LockClass, number: int = 0) -> bool:
    """Take the session's lock if it is free; say whether it was."""
    statement = text("SELECT pg_try_advisory_lock(:lock, :number)")
    return bool(connection.execute(statement, {"lock": int(lock), "number": number}).scalar_one())


def release(connection: Connection, lock: LockClass, number: int = 0) -> None:
    """Give a session's lock back."""
    connection.execute(text("SELECT pg_advisory_unlock(:lock, :number)"), {"lock": int(lock), "number": number})


def _numbers(rows: Rows) -> set[int]:
    return {row[0] for row in rows}
