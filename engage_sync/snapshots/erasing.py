"""What definitions said of people, and what anybody was told of it, goes for good.

Writes `snapshots`, `edges`, `changes`, `told`, `computations` (the number of members) and errors of `runs`. By internal
ids, as often as one likes. The ledger of the past is then what it would have been without them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from sqlalchemy import Connection, text

from engage_sync.ingest.erasing import rub_out
from engage_sync.profiles.erasing import Erased

_SNAPSHOTS = text(
    """
    WITH gone AS (
      DELETE FROM snapshots WHERE profile_id = ANY(CAST(:profiles AS bigint[]))
      RETURNING profile_id, definition_id, value
    ), counted AS (
      SELECT definition_id, count(*) AS members
      FROM gone JOIN definitions ON definitions.id = definition_id
      WHERE NOT (definitions.kind = 'audience' AND value = 'false')
      GROUP BY definition_id
      ORDER BY definition_id
    ), updated AS (
      UPDATE computations SET members = computations.members - counted.members
      FROM counted WHERE computations.definition_id = counted.definition_id
    )
    SELECT profile_id AS id, count(*) FROM gone GROUP BY profile_id
    """
)
_BY_PROFILE = {
    table: text(
        f"WITH gone AS (DELETE FROM {table} WHERE profile_id = ANY(CAST(:profiles AS bigint[])) RETURNING profile_id)"  # noqa: S608 - constants of this module
        " SELECT profile_id AS id, count(*) FROM gone GROUP BY profile_id"
    )
    for table in ("edges", "changes", "told")
}

_COMPLAINTS = (
    (
        text("SELECT id, error FROM runs WHERE lower(error) LIKE ANY(CAST(:patterns AS text[]))"),
        text("UPDATE runs SET error = :content WHERE id = :id"),
    ),
    (
        text("SELECT definition_id, error FROM computations WHERE lower(error) LIKE ANY(CAST(:patterns AS text[]))"),
        text("UPDATE computations SET error = :content WHERE definition_id = :id"),
    ),
)


def complaints(connection: Connection, values: Collection[str]) -> None:
    """What computations failed of no longer names anybody by these values."""
    for find, replace in _COMPLAINTS:
        rub_out(connection, find, replace, values)


def people(connection: Connection, profiles: Sequence[int]) -> Erased:
    """Delete it all; `profiles` are also those that were merged away, which the ledger keeps its entries under."""
    erased: Erased = {profile: Counter() for profile in profiles}
    for table, statement in {"snapshots": _SNAPSHOTS, **_BY_PROFILE}.items():
        for profile, number in connection.execute(statement, {"profiles": list(profiles)}):
            erased[profile][table] += number
    return erased
