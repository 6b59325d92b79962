"""Brings a database to the newest schema, and prepares the partitions of the coming days.

Writes: `installation`, partitions. Safe to call from many processes at once. Alembic is imported where something is
upgraded only: every command asks for the revision, and Alembic is a tenth of what it takes to start one.
"""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, text

from engage_sync import errors

if TYPE_CHECKING:
    from alembic.config import Config

# The oldest revision whose processes can work on the newest schema: what came since only added to it. A migration that
# takes away, or changes the meaning of what is there, sets it to the first revision that gets along without that
# (docs/decisions/0024-rolling-upgrades.md).
COMPATIBLE_SINCE = "0016"
_COMPATIBLE_SINCE = text("SELECT compatible_since FROM installation")

_HAS_REVISION = text("SELECT to_regclass('alembic_version') IS NOT NULL")
_REVISION = text("SELECT version_num FROM alembic_version")

# Tables partitioned by day, and how many days are made ahead: a daemon that is down for a week still finds them.
_PARTITIONED = ("touches", "changes", "delivered")
_DAYS_AHEAD = 8


def configuration() -> Config:
    """Alembic's configuration for the migrations."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_migrations()))
    return config


def _migrations() -> Path:
    """The folder of those that ship with the package, or lie beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    shipped = package / "_migrations"
    return shipped if shipped.is_dir() else package.parent / "migrations"


def upgrade(engine: Engine) -> None:
    """Upgrade to head, make the installation's row and the partitions ahead. A newer database stays as it is.

    Of several processes one upgrades; the others wait for it.
    """
    from alembic import command

    config = configuration()
    with engine.connect() as connection:
        if is_newer(connection):
            require_compatible(connection)
            return
        connection.rollback()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO installation (id) VALUES (1) ON CONFLICT DO NOTHING"))
        ensure_partitions(connection)


def current_revision(connection: Connection) -> str | None:
    """The revision that the database is at; None for an empty database."""
    if not connection.execute(_HAS_REVISION).scalar_one():
        return None
    revision: str | None = connection.execute(_REVISION).scalar_one_or_none()
    return revision


@cache
def head_revision() -> str:
    """The newest revision that this version of engage-sync knows: migrations are numbered, as their files."""
    return max(file.name.partition("_")[0] for file in (_migrations() / "versions").glob("[0-9]*.py"))


def is_newer(connection: Connection) -> bool:
    """Whether the database is at a revision that came after this version of engage-sync."""
    revision = current_revision(connection)
    return revision is not None and revision > head_revision()


def require_compatible(connection: Connection) -> None:
    """Raise unless this version can work on the database's schema: its own, or a newer one that only added to it.

    errors.DatabaseUnavailable: it is older, and somebody has yet to migrate. errors.SchemaTooNew: we are too old.
    """
    revision = current_revision(connection)
    if revision == head_revision():
        return
    if revision is None or revision < head_revision():
        raise errors.DatabaseUnavailable(
            f"The database's schema is {revision or 'empty'}, and this version needs {head_revision()}."
            " Run: engage-sync migrate"
        )
    since = connection.execute(_COMPATIBLE_SINCE).scalar()
    if since is None or since > head_revision():
        raise errors.SchemaTooNew(
            f"The database's schema, {revision}, is for versions of engage-sync that know {since or revision}; this one"
            f" ends with {head_revision()}. Install the version that the others run."
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
