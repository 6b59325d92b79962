"""Advisory locks, keyed by two integers: a class and a number. Locks of one class are taken in the order of numbers.

A transaction's lock goes with its transaction; a session's with its connection, so that a dead process holds none.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from sqlalchemy import Connection, text


class LockClass(IntEnum):
    """The first key. The numbers are fixed: old and new processes run side by side over an upgrade."""

    MIGRATION = 4_201
    RESOLVER = 4_202
    DEFINITION = 4_203
    SCHEDULER = 4_204
    WORKER = 4_205
    DEFINITIONS_CHANGE = 4_206


def wait(connection: Connection, lock: LockClass, number: int = 0) -> None:
    """Take the lock for this transaction, waiting for whoever holds it."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock, :number)"), {"lock": int(lock), "number": number})


def attempt(connection: Connection, lock: LockClass, number: int = 0) -> bool:
    """Take the lock for this transaction if it is free; say whether it was."""
    statement = text("SELECT pg_try_advisory_xact_lock(:lock, :number)")
    return bool(connection.execute(statement, {"lock": int(lock), "number": number}).scalar_one())


def attempt_each(connection: Connection, lock: LockClass, numbers: Sequence[int]) -> set[int]:
    """Take those locks that are free for this transaction, in the order of their numbers; say which."""
    statement = text(
        """
        SELECT number FROM (SELECT unnest(CAST(:numbers AS integer[])) AS number ORDER BY number) AS wanted
        WHERE pg_try_advisory_xact_lock(:lock, number)
        """
    )
    return set(connection.execute(statement, {"lock": int(lock), "numbers": sorted(numbers)}).scalars())


def wait_for_each(connection: Connection, lock: LockClass, numbers: Sequence[int]) -> None:
    """Take all these locks for this transaction, in the order of their numbers, waiting for whoever holds them."""
    statement = text(
        """
        SELECT pg_advisory_xact_lock(:lock, number)
        FROM (SELECT unnest(CAST(:numbers AS integer[])) AS number ORDER BY number) AS wanted
        """
    )
    connection.execute(statement, {"lock": int(lock), "numbers": sorted(numbers)})


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
