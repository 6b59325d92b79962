"""One email took another's place, in destinations too: what was told to the old one, the new one was told.

Writes `told`: in the transaction that resolved the change, and in the one that learns that a destination refused it,
or what was under way as it came.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import Connection, text

from engage_sync.snapshots.settled import ToldKey

_TOLD_BEFORE = text(
    """
    SELECT DISTINCT destination_id FROM told
    WHERE identity_value = :email AND identity_type = 'email'
      AND destination_id = ANY(CAST(:destinations AS smallint[]))
    """
)
# By the key, as a row that was settled while this waited for it has another place than the statement sees.
# What is under way to the old email arrives before the change, as it stands before it: it counts as taken. Its end
# will find no row any more.
_MOVE = text(
    """
    WITH under_way AS MATERIALIZED (
      SELECT * FROM unnest(CAST(:under_way_destinations AS smallint[]), CAST(:under_way_definitions AS integer[]),
                           CAST(:under_way_call_types AS text[])) AS key (destination_id, definition_id, call_type)
    ), moving AS MATERIALIZED (
      SELECT told.destination_id, told.definition_id, told.call_type, under_way.call_type IS NOT NULL AS is_under_way
      FROM told LEFT JOIN under_way USING (destination_id, definition_id, call_type)
      WHERE told.identity_value = :before AND told.identity_type = 'email'
        AND told.destination_id = ANY(CAST(:destinations AS smallint[]))
      ORDER BY told.identity_value, told.identity_type, told.destination_id, told.definition_id, told.call_type
      FOR UPDATE OF told
    )
    UPDATE told
    SET identity_value = :after, profile_id = :profile,
        enqueued = CASE WHEN NOT moving.is_under_way THEN told.enqueued END,
        confirmed = CASE WHEN moving.is_under_way THEN coalesce(told.enqueued, told.confirmed) ELSE told.confirmed END,
        confirmed_version = CASE WHEN moving.is_under_way THEN told.version ELSE told.confirmed_version END
    FROM moving
    WHERE told.identity_value = :before AND told.identity_type = 'email' AND told.destination_id = moving.destination_id
      AND told.definition_id = moving.definition_id AND told.call_type = moving.call_type
    """
)
# Both are users there: the old one knows what was confirmed, of the new one nothing is known but what waits.
_SPLIT = (
    text(
        """
        INSERT INTO told (identity_value, identity_type, destination_id, definition_id, call_type, profile_id, version,
                          confirmed, confirmed_version, is_unknown)
        SELECT :before, identity_type, destination_id, definition_id, call_type, profile_id, version, confirmed,
               confirmed_version, is_unknown
        FROM told
        WHERE identity_value = :after AND identity_type = 'email' AND destination_id = :destination
          AND confirmed IS NOT NULL
        ON CONFLICT (identity_value, identity_type, destination_id, definition_id, call_type) DO NOTHING
        """
    ),
    text(
        """
        UPDATE told SET confirmed = NULL, confirmed_version = 0
        WHERE identity_value = :after AND identity_type = 'email' AND destination_id = :destination
        """
    ),
)


def strangers(connection: Connection, email: str, destinations: Sequence[int]) -> list[int]:
    """The destinations that were never told anything of this email: for the others it is a user of its own."""
    given = {"email": email, "destinations": list(destinations)}
    knowing = set(connection.execute(_TOLD_BEFORE, given).scalars())
    return [destination for destination in destinations if destination not in knowing]


def move(
    connection: Connection,
    *,
    before: str,
    after: str,
    profile_id: int,
    destinations: Sequence[int],
    under_way: Collection[ToldKey],
) -> None:
    """What these destinations were told of one email they were told of another, `under_way` included."""
    keys = sorted(under_way)
    connection.execute(
        _MOVE,
        {
            "before": before,
            "after": after,
            "profile": profile_id,
            "destinations": list(destinations),
            "under_way_destinations": [key.destination_id for key in keys],
            "under_way_definitions": [key.definition_id for key in keys],
            "under_way_call_types": [key.call_type for key in keys],
        },
    )


def split(connection: Connection, *, before: str, after: str, destination_id: int) -> None:
    """The destination didn't take the change: the old email is told the end, the new one what is true."""
    for statement in _SPLIT:
        connection.execute(statement, {"before": before, "after": after, "destination": destination_id})


# Unless the destination took something newer since.
_DISCLAIM = text(
    """
    UPDATE told SET is_unknown = true
    WHERE identity_value = :identity_value AND identity_type = :identity_type AND destination_id = :destination_id
      AND definition_id = :definition_id AND call_type = :call_type AND confirmed_version = :version
    """
)


def disclaim(connection: Connection, key: ToldKey, version: int) -> None:
    """What was under way to the old email, and so counted as told to this one, was not taken: what is true is said."""
    connection.execute(_DISCLAIM, {**key._asdict(), "version": version})
