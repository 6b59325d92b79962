"""Runs migrations under an advisory lock and with timeouts, so that two processes starting at once do it once, and a
migration that can't get its locks gives up instead of blocking everyone."""

from __future__ import annotations

import os

from alembic import context
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text

from engage_sync.database import locks, migrate
from engage_sync.database.engine import create_engine
from engage_sync.database.tables import metadata

# What a comparison with the metadata must pass over: partitions belong to their parents.
PARTITION_SUFFIXES = ("_default",)


def include_object(item: object, name: str | None, kind: str, reflected: bool, compare_to: object) -> bool:
    return not (kind == "table" and reflected and name is not None and "_p2" in name) and not (
        kind == "table" and reflected and name is not None and name.endswith(PARTITION_SUFFIXES)
    )


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        include_object=include_object,
        transaction_per_migration=False,
    )
    with context.begin_transaction():
        locks.wait(connection, locks.LockClass.MIGRATION)
        connection.execute(text("SET LOCAL lock_timeout = '10s'"))
        connection.execute(text("SET LOCAL statement_timeout = '30min'"))
        context.run_migrations()
        note_who_may_run(connection)


def note_who_may_run(connection: Connection) -> None:
    """In the same transaction, so that no process ever sees a schema that it knows nothing about."""
    script = context.script
    head = script.get_current_head()
    if head is None or MigrationContext.configure(connection).get_current_revision() != head:
        # On the way back, with the schema of before.
        return
    connection.execute(text("INSERT INTO installation (id) VALUES (1) ON CONFLICT DO NOTHING"))
    statement = text("UPDATE installation SET compatible_since = :since")
    connection.execute(statement, {"since": migrate.COMPATIBLE_SINCE})


given: Connection | None = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    engine = create_engine(os.environ["ENGAGE_SYNC_DATABASE_URL"], application="engage-sync migrate")
    with engine.connect() as opened:
        run(opened)
    engine.dispose()
