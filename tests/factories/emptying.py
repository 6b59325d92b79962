"""Leave nothing of the last example: a property test plays dozens of them in one database.

By DELETE and not by TRUNCATE, which makes new files for each table, partition and index, and lets the session forget
all its plans: 100 ms and more for what is a few rows.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache

from sqlalchemy import Connection

from engage_sync.database import pipeline
from engage_sync.database.pipeline import Query
from engage_sync.database.tables import metadata

# Made with the database.
_ALWAYS_THERE = frozenset({"installation"})


def empty(connection: Connection, *, but: Collection[str] = ()) -> None:
    """Delete all rows, and number those to come from 1 again; tables named by `but` stay as they are."""
    statements = _statements(_ALWAYS_THERE | frozenset(but))
    pipeline.ask_each(connection, [Query(statement, {}, pipeline.nothing) for statement in statements])


@cache
def _statements(but: frozenset[str]) -> list[str]:
    """Whatever refers to a table comes before it."""
    tables = [table for table in reversed(metadata.sorted_tables) if table.name not in but]
    numbered = ((table.name, column.name) for table in tables for column in table.columns if column.identity)
    restarts = (f"SELECT setval(pg_get_serial_sequence('{table}', '{column}'), 1, false)" for table, column in numbered)
    return [*(f"DELETE FROM {table.name}" for table in tables), *restarts]
