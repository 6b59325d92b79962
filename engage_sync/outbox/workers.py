"""Who delivers: each worker's process holds a lock while it lives, so that its end is seen without a heartbeat.

Writes `workers`, and `lanes` of workers that are gone.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import Any

import psycopg
from sqlalchemy import Connection, text

from engage_sync.database import locks, pipeline
from engage_sync.database.locks import LockClass

_OTHERS = text("SELECT id FROM workers WHERE id <> :own ORDER BY id")
# Waits for a start or a settlement that this worker is just writing, and lets none begin.
_SEIZE = text("SELECT id FROM workers WHERE id = :worker FOR UPDATE")
_FREE = text(
    """
    WITH held AS MATERIALIZED (
      SELECT profile_id, destination_id FROM lanes WHERE worker_id = :worker
      ORDER BY profile_id, destination_id
      FOR NO KEY UPDATE SKIP LOCKED
    )
    UPDATE lanes
    SET worker_id = NULL,
        due_at = coalesce((
          SELECT max(messages.started_at) + CAST(:timeout AS float8) * interval '1 second' FROM messages
          WHERE messages.profile_id = lanes.profile_id AND messages.destination_id = lanes.destination_id
        ), lanes.due_at)
    FROM held WHERE lanes.profile_id = held.profile_id AND lanes.destination_id = held.destination_id
    """
)
_REMOVE = text(
    "DELETE FROM workers WHERE id = :worker AND NOT EXISTS (SELECT FROM lanes WHERE worker_id = :worker) RETURNING id"
)

_REACHES = text(
    """
    UPDATE workers
    SET cut_off_from = array_remove(cut_off_from, CAST(:destination AS smallint))
      || CASE WHEN :reaches THEN '{}' ELSE ARRAY[CAST(:destination AS smallint)] END
    WHERE id = :worker
    """
)
_CUT_OFF = text(
    """
    SELECT destinations.slug AS destination, host, process
    FROM workers JOIN destinations ON destinations.id = ANY(cut_off_from)
    ORDER BY destinations.slug, host, process
    """
)


@dataclass(frozen=True, kw_only=True, slots=True)
class CutOff:
    """A worker's process that doesn't get through to a destination, though others do."""

    destination: str
    host: str
    process: int


def register(connection: psycopg.Connection[Any], role: str = "deliver") -> int:
    """Make a worker, alive as long as this connection; return its id.

    The connection is in autocommit, direct (not through a pooler), and used for nothing that could block it.
    """
    # The lock is taken in the transaction that makes the row visible: nobody can find the one without the other.
    with connection.transaction():
        row = connection.execute(
            "INSERT INTO workers (role, host, process) VALUES (%s, %s, %s) RETURNING id",
            (role, socket.gethostname(), os.getpid()),
        ).fetchone()
        assert row is not None
        worker: int = row[0]
        connection.execute("SELECT pg_advisory_lock(%s, %s)", (int(LockClass.WORKER), worker))
    return worker


def unregister(connection: Connection, worker_id: int, timeout: float) -> None:
    """The worker ends: what it still holds is freed, and its row goes."""
    _end(connection, worker_id, timeout)


def others(connection: Connection, timeout: float) -> int:
    """How many other workers are alive just now; what dead ones held is freed."""
    reclaim(connection, timeout)
    return len(connection.execute(_OTHERS, {"own": 0}).scalars().all())


def reclaim(connection: Connection, timeout: float, own: int = 0) -> int:
    """Free the lanes of dead workers; return how many workers were removed.

    A lane without a started message is due at once; the others once the last request can't be on its way any more,
    `timeout` seconds after its start. A lane that somebody just holds is left for the next turn, and so is its worker.
    """
    removed = 0
    for worker in connection.execute(_OTHERS, {"own": own}).scalars().all():
        if locks.attempt(connection, LockClass.WORKER, worker):
            removed += _end(connection, worker, timeout)
    return removed


def reaches(connection: Connection, worker_id: int, destination_id: int, *, is_reached: bool) -> None:
    """Write down whether this worker gets through to a destination that others get through to."""
    given = {"worker": worker_id, "destination": destination_id, "reaches": is_reached}
    pipeline.rows(connection, _REACHES, given)


def cut_off(connection: Connection) -> list[CutOff]:
    """Those that alone don't get through, by destination."""
    return [
        CutOff(destination=row.destination, host=row.host, process=row.process)
        for row in pipeline.rows(connection, _CUT_OFF, {})
    ]


def _end(connection: Connection, worker_id: int, timeout: float) -> bool:
    if connection.execute(_SEIZE, {"worker": worker_id}).first() is None:
        return False
    connection.execute(_FREE, {"worker": worker_id, "timeout": timeout})
    return connection.execute(_REMOVE, {"worker": worker_id}).first() is not None
