"""Two profiles became one: what later stages keep of the lost one is closed or moved.

Writes `snapshots`, `changes`, `computations` (the number of members) and `told`, in the transaction of the merge. What
the profile that stays is now, the next computation says: it is touched by the merge.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, text

# No run did this; the ledger still needs the end of what the lost profile was.
_CLOSE = text(
    """
    WITH gone AS (
      DELETE FROM snapshots WHERE profile_id = ANY(:lost) RETURNING profile_id, definition_id, value
    ), logged AS (
      INSERT INTO changes (profile_id, definition_id, as_of, run_id, before)
      SELECT profile_id, definition_id, clock_timestamp(), 0, value FROM gone
    ), counted AS (
      SELECT definition_id, count(*) AS members
      FROM gone JOIN definitions ON definitions.id = definition_id
      WHERE NOT (definitions.kind = 'audience' AND value = 'false')
      GROUP BY definition_id
      ORDER BY definition_id
    )
    UPDATE computations SET members = computations.members - counted.members
    FROM counted WHERE computations.definition_id = counted.definition_id
    """
)
# The key of what was told is the identity, which moved along; so no two rows can meet here.
_MOVE_TOLD = text(
    """
    UPDATE told SET profile_id = pair.kept
    FROM unnest(CAST(:lost AS bigint[]), CAST(:kept AS bigint[])) AS pair (lost, kept)
    WHERE told.profile_id = pair.lost
    """
)


def move(connection: Connection, pairs: Sequence[tuple[int, int]]) -> None:
    """Close the snapshots of lost profiles and move what their identities were told; pairs are (lost, kept)."""
    if pairs:
        lost = [lost for lost, _ in pairs]
        connection.execute(_CLOSE, {"lost": lost})
        connection.execute(_MOVE_TOLD, {"lost": lost, "kept": [kept for _, kept in pairs]})
