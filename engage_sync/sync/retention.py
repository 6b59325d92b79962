"""What is kept only for a time goes: delivered messages, what was touched and read, rejects, minutes of real time.

Whole days go as partitions; what has none, in batches of bounded size, each its own transaction, so that nothing waits.
The ledger of changes, profiles, events, and what each identity was told stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta

import structlog
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from engage_sync.ingest import volumes

log = structlog.get_logger(__name__)

BATCH = 10_000
# Whoever waits for a table that is being used would keep everybody behind it waiting, too.
_LOCK_PATIENCE = text("SET LOCAL lock_timeout = '2s'")
_NOW = text("SELECT clock_timestamp()")
_PARTITIONS = text(
    """
    SELECT inhrelid::regclass::text AS name FROM pg_inherits
    WHERE inhparent = to_regclass(:table) ORDER BY inhrelid::regclass::text
    """
)
# What every definition has read: those that need everybody anyway have nothing to read.
_READ_UP_TO = text(
    """
    SELECT min(pg_snapshot_xmin(touches_seen))::text::bigint FROM computations
    JOIN definitions ON definitions.id = computations.definition_id
    WHERE definitions.enabled AND definitions.deleted_at IS NULL AND touches_seen IS NOT NULL
    """
)
_ROWS: Mapping[str, str] = {
    "delivered": "ctid = ANY(ARRAY(SELECT ctid FROM {table} WHERE delivered_at < :before LIMIT :limit))",
    "rejects": "id = ANY(ARRAY(SELECT id FROM {table} WHERE received_at < :before ORDER BY id LIMIT :limit))",
    "dead_letters": (
        "id = ANY(ARRAY(SELECT id FROM {table} WHERE failed_at < :before AND status <> 'open' LIMIT :limit))"
    ),
    "outages": "since = ANY(ARRAY(SELECT since FROM {table} WHERE until < :before LIMIT :limit))",
    "runs": "id = ANY(ARRAY(SELECT id FROM {table} WHERE minute < :before LIMIT :limit))",
}
"""Which rows of a table go, by table; `delivered` has them in the partition of days without one."""


def clean(engine: Engine, keep: timedelta) -> dict[str, int]:
    """Remove what is older than `keep`; returns the numbers of days (partitions) and rows that went, by table.

    Touches go when they are older and every enabled definition has read them.
    """
    with engine.begin() as connection:
        before: datetime = connection.execute(_NOW).scalar_one() - keep
    gone = {
        "delivered_days": _drop_days(engine, "delivered", before.date()),
        "touches_days": _drop_days(engine, "touches", before.date(), is_read=True),
    }
    for table in _ROWS:
        gone[table] = _delete_rows(engine, "delivered_default" if table == "delivered" else table, before, _ROWS[table])
    with engine.begin() as connection:
        gone["volumes"] = volumes.clean(connection)
    if any(gone.values()):
        log.info("cleaned", **{name: number for name, number in gone.items() if number})
    return gone


def _drop_days(engine: Engine, table: str, before: date, *, is_read: bool = False) -> int:
    """Drop the partitions of whole days before a day; of touches only those that everybody `is_read` up to."""
    with engine.begin() as connection:
        names = list(connection.execute(_PARTITIONS, {"table": table}).scalars())
    dropped = 0
    for name in names:
        day = name.removeprefix(f"{table}_p")
        if not day.isdigit() or datetime.strptime(day, "%Y%m%d").date() >= before:
            continue
        try:
            with engine.begin() as connection:
                connection.execute(_LOCK_PATIENCE)
                if is_read and not _everybody_has_read(connection, name):
                    continue
                # The name is that of a partition of ours; DDL takes no parameters.
                connection.exec_driver_sql(f"DROP TABLE {name}")
                dropped += 1
        except OperationalError as failure:
            log.warning("partition_is_busy", name=name, reason=str(failure.orig).splitlines()[0])
    return dropped


def _everybody_has_read(connection: Connection, partition: str) -> bool:
    newest = connection.exec_driver_sql(f"SELECT max(xid)::text::bigint FROM {partition}").scalar_one()  # noqa: S608
    read = connection.execute(_READ_UP_TO).scalar_one()
    return newest is None or read is None or newest < read


def _delete_rows(engine: Engine, table: str, before: datetime, which: str) -> int:
    statement = text(f"DELETE FROM {table} WHERE {which.format(table=table)}")  # noqa: S608 - constants of this module
    gone = 0
    while True:
        with engine.begin() as connection:
            deleted = connection.execute(statement, {"before": before, "limit": BATCH}).rowcount
        gone += deleted
        if deleted < BATCH:
            return gone
