"""By which identifier an SQL trait's rows were brought to their people. Writes `snapshots.matched_by`.

Reads the session's table `engage_row_of`, which the run's reading filled (evaluation/rows). What is noted is always
that of the row which gave the value that stands.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, text

# Whose row came by another identifier than before, and may say the same: written with the others, batch by batch.
_STAGE = text(
    """
    INSERT INTO engage_pending (profile_id)
    SELECT profile_id FROM engage_row_of JOIN snapshots USING (profile_id)
    WHERE snapshots.definition_id = :definition AND snapshots.matched_by IS DISTINCT FROM engage_row_of.matched_by
    ON CONFLICT (profile_id) DO NOTHING
    """
)
_NOTE = text(
    """
    UPDATE snapshots SET matched_by = engage_row_of.matched_by
    FROM engage_row_of
    WHERE snapshots.definition_id = :definition AND snapshots.profile_id = ANY(CAST(:profiles AS bigint[]))
      AND engage_row_of.profile_id = snapshots.profile_id AND engage_row_of.value = snapshots.value
      AND snapshots.matched_by IS DISTINCT FROM engage_row_of.matched_by
    """
)


def stage(connection: Connection, definition: int) -> None:
    """Add to `engage_pending` whose identifier isn't the one that is noted."""
    connection.execute(_STAGE, {"definition": definition})


def note(connection: Connection, definition: int, profiles: Sequence[int]) -> None:
    """Note the identifiers of some people's rows, after their values are written."""
    connection.execute(_NOTE, {"definition": definition, "profiles": list(profiles)})
