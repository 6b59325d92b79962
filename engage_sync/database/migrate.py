"""Brings a database to the newest schema, and prepares the partitions of the coming days.

Writes: `installation`, partitions. Safe to call from many processes at once.
"""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from engage_sync import errors

# Tables partitioned by day, and how many days are made ahead: a daemon that is down for a week still finds them.
_PARTITIONED = ("touches", "changes", "delivered")
_DAYS_AHEAD = 8


def configuration() -> Config:
    """Alembic's configuration for the migrations that ship with the package, or lie beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    shipped = package / "_migrations"
    config = Config()
    config.set_main_option("script_location", str(shipped if shipped.is_dir() else package.parent / "migrations"))
    return config


def upgrade(engine: Engine) -> None:
    """Upgrade to head, make the installation's row and the partitions ahead."""
    config = configuration()
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO installation (id) VALUES (1) ON CONFLICT DO NOTHING"))
        ensure_partitions(connection)


def current_revision(connection: Connection) -> str | None:
    """The revision that the database is at; None for an empty database."""
    return MigrationContext.configure(connection).get_current_revision()


def head_revision() -> str | None:
    """The newest revision that this version of engage-sync knows."""
    return ScriptDirectory.from_config(configuration()).get_current_head()


def require_current(connection: Connection) -> None:
    """Raise errors.DatabaseUnavailable unless the database is at the newest revision."""
    if current_revision(connection) != head_revision():
        raise errors.DatabaseUnavailable(
            "The database's schema is not the one this version needs. Run: engage-sync migrate"
        )


def ensure_partitions(connection: Connection) -> None:
    """Make the daily partitions from today on. Rows of a day without one stay in the default partition."""
    today: date = connection.execute(text("SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date")).scalar_one()
    for table in _PARTITIONED:
        have = set(
            connection.execute(
                text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = to_regclass(:table)"),
                {"table": table},
            ).scalars()
        )
        for ahead in range(_DAYS_AHEAD):
            day = today + timedelta(days=ahead)
            name = f"{table}_p{day:%Y%m%d}"
            if name not in have:
                # Names and bounds come from the constants above and a date; DDL takes no parameters.
                connection.exec_driver_sql(
                    f"CREATE TABLE IF NOT EXISTS {name} PARTITION OF {table}"
                    f" FOR VALUES FROM ('{day}') TO ('{day + timedelta(days=1)}')"
                )
