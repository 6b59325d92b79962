"""Two profiles became one: what later stages keep of the lost one is closed or moved.

Writes `snapshots`, `changes`, `computations` (the number of members), `told` and `lost_profiles`, in the transaction of
the merge. What the profile that stays is now, the next computation says: it is touched by the merge.
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
# Nothing tells when an SQL trait's rows change, so nobody would look before the next reading: its value moves along.
_CARRY = text(
    """
    WITH carried AS (
      INSERT INTO snapshots (profile_id, definition_id, value, since, matched_by)
      SELECT DISTINCT ON (pair.kept, snapshots.definition_id) pair.kept, snapshots.definition_id, snapshots.value,
             clock_timestamp(), snapshots.matched_by
      FROM unnest(CAST(:lost AS bigint[]), CAST(:kept AS bigint[])) AS pair (lost, kept)
      JOIN snapshots ON snapshots.profile_id = pair.lost
      JOIN definitions ON definitions.id = snapshots.definition_id
      JOIN definition_versions AS version
        ON version.definition_id = definitions.id AND version.version = definitions.version
      WHERE version.document -> 'sql' IS NOT NULL
      ORDER BY pair.kept, snapshots.definition_id, snapshots.since
      ON CONFLICT (profile_id, definition_id) DO NOTHING
      RETURNING profile_id, definition_id, value
    ), logged AS (
      INSERT INTO changes (profile_id, definition_id, as_of, run_id, after)
      SELECT profile_id, definition_id, clock_timestamp(), 0, value FROM carried
    ), counted AS (
      SELECT definition_id, count(*) AS members FROM carried GROUP BY definition_id ORDER BY definition_id
    )
    UPDATE computations SET members = computations.members + counted.members
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
# What was lost to one that is lost now belongs to the one that stays, too.
_REMEMBER = (
    text(
        """
        UPDATE lost_profiles SET profile_id = pair.kept
        FROM unnest(CAST(:lost AS bigint[]), CAST(:kept AS bigint[])) AS pair (lost, kept)
        WHERE lost_profiles.profile_id = pair.lost
        """
    ),
    text(
        """
        INSERT INTO lost_profiles (lost_id, profile_id)
        SELECT lost, kept FROM unnest(CAST(:lost AS bigint[]), CAST(:kept AS bigint[])) AS pair (lost, kept)
        """
    ),
)


def move(connection: Connection, pairs: Sequence[tuple[int, int]]) -> None:
    """Close the snapshots of lost profiles, move what their identities were told, and remember where they went.

    Pairs are (lost, kept).
    """
    if pairs:
        given = {"lost": [lost for lost, _ in pairs], "kept": [kept for _, kept in pairs]}
        connection.execute(_CARRY, given)
        connection.execute(_CLOSE, {"lost": given["lost"]})
        for statement in (_MOVE_TOLD, *_REMEMBER):
            connection.execute(statement, given)
