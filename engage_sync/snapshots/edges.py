"""When a date will next change what a definition says of whom. Writes `edges`, in the transaction of the snapshot.

Of a profile that is evaluated its first edge after that instant is kept; whoever's edge has come is dirty.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, text

from engage_sync.evaluation.compiler import Evaluation

_REFRESH = """
WITH found AS MATERIALIZED ({edges}), gone AS (
  DELETE FROM edges
  WHERE definition_id = %(engage_definition)s AND profile_id = ANY(%(profiles)s::bigint[])
    AND NOT EXISTS (SELECT FROM found WHERE found.profile_id = edges.profile_id)
)
INSERT INTO edges (profile_id, definition_id, at)
SELECT profile_id, %(engage_definition)s, at FROM found ORDER BY profile_id
ON CONFLICT (profile_id, definition_id) DO UPDATE SET at = excluded.at WHERE edges.at <> excluded.at
"""
_REPLACE = """
INSERT INTO edges (profile_id, definition_id, at)
SELECT profile_id, %(engage_definition)s, at FROM ({edges}) AS found ORDER BY profile_id
"""
_COMING = "SELECT profile_id FROM ({edges}) AS found WHERE at <= %(engage_until)s"
_FORGET = text("DELETE FROM edges WHERE definition_id = :definition")


def refresh(
    connection: Connection, edges: Evaluation, *, definition: int, as_of: datetime, profiles: Sequence[int]
) -> None:
    """Write the next edges of profiles that were just evaluated as of an instant."""
    given = {**edges.arguments(as_of, profiles), "engage_definition": definition}
    connection.exec_driver_sql(_REFRESH.replace("{edges}", edges.sql), given)


def replace(connection: Connection, edges: Evaluation | None, *, definition: int, as_of: datetime) -> None:
    """Write everybody's next edges anew; None: the definition has none (any more)."""
    connection.execute(_FORGET, {"definition": definition})
    if edges is not None:
        given = {**edges.arguments(as_of), "engage_definition": definition}
        connection.exec_driver_sql(_REPLACE.replace("{edges}", edges.sql), given)


def coming(
    connection: Connection, edges: Evaluation, *, as_of: datetime, until: datetime, profiles: Sequence[int]
) -> set[int]:
    """Which of the profiles have an edge after `as_of` and not after `until`."""
    given = {**edges.arguments(as_of, profiles), "engage_until": until}
    rows = connection.exec_driver_sql(_COMING.replace("{edges}", edges.sql), given)
    return {row[0] for row in rows}
