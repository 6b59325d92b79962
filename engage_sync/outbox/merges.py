"""Two profiles became one: what waits for the lost one waits for the one that stays.

Writes `messages`, `dead_letters`, `delivered` and `lanes`, in the transaction of the merge. The order of a person's
messages holds: a request of the lost profile that may be on its way keeps the common lane waiting until it can't arrive
any more.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, text

from engage_sync.outbox import roads

# A request lives 10 seconds at most, so whatever starts after that can't be overtaken by it.
_REQUEST_TIMEOUT = 10.0

_OPEN_LANES = text(
    """
    WITH moving AS MATERIALIZED (
      SELECT lanes.profile_id AS lost, pair.kept, lanes.destination_id, lanes.priority, lanes.due_at, lanes.worker_id
      FROM lanes JOIN unnest(CAST(:lost AS bigint[]), CAST(:kept AS bigint[])) AS pair (lost, kept)
        ON lanes.profile_id = pair.lost
    ), together AS (
      SELECT moving.kept, moving.destination_id, min(moving.priority) AS priority,
             greatest(min(moving.due_at), max(on_its_way.until)) AS due_at
      FROM moving
      LEFT JOIN LATERAL (
        SELECT max(messages.started_at) + CAST(:timeout AS float8) * interval '1 second' AS until
        FROM messages
        WHERE moving.worker_id IS NOT NULL AND messages.profile_id = moving.lost
          AND messages.destination_id = moving.destination_id AND messages.started_at IS NOT NULL
      ) AS on_its_way ON true
      GROUP BY moving.kept, moving.destination_id
    )
    INSERT INTO lanes (profile_id, destination_id, priority, due_at)
    SELECT kept, destination_id, priority, due_at FROM together ORDER BY kept, destination_id
    ON CONFLICT (profile_id, destination_id) DO UPDATE
    SET priority = least(lanes.priority, excluded.priority),
        due_at = CASE WHEN excluded.due_at > clock_timestamp() THEN greatest(lanes.due_at, excluded.due_at)
                      ELSE least(lanes.due_at, excluded.due_at) END
    """
)
_MOVE_MESSAGES = text(
    """
    UPDATE messages SET profile_id = pair.kept
    FROM unnest(CAST(:lost AS bigint[]), CAST(:kept AS bigint[])) AS pair (lost, kept)
    WHERE messages.profile_id = pair.lost
    """
)
_MOVE_DEAD_LETTERS = text(
    """
    UPDATE dead_letters SET profile_id = pair.kept
    FROM unnest(CAST(:lost AS bigint[]), CAST(:kept AS bigint[])) AS pair (lost, kept)
    WHERE dead_letters.profile_id = pair.lost
    """
)
# By what was delivered just now, the next message knows which road it has to take.
_MOVE_DELIVERED = text(
    """
    UPDATE delivered SET profile_id = pair.kept
    FROM unnest(CAST(:lost AS bigint[]), CAST(:kept AS bigint[])) AS pair (lost, kept)
    WHERE delivered.profile_id = pair.lost
      AND delivered.delivered_at > statement_timestamp() - CAST(:kept_for AS float8) * interval '1 second'
    """
)
# A leased lane stays for its worker, who finds nothing more in it and closes it.
_CLOSE_LANES = text("DELETE FROM lanes WHERE profile_id = ANY(:lost) AND worker_id IS NULL")


def move(connection: Connection, pairs: Sequence[tuple[int, int]]) -> None:
    """Move what waits and what failed; pairs are (lost, kept)."""
    if pairs:
        parameters = {"lost": [lost for lost, _ in pairs], "kept": [kept for _, kept in pairs]}
        connection.execute(_OPEN_LANES, {**parameters, "timeout": _REQUEST_TIMEOUT})
        connection.execute(_MOVE_MESSAGES, parameters)
        connection.execute(_MOVE_DEAD_LETTERS, parameters)
        connection.execute(_MOVE_DELIVERED, {**parameters, "kept_for": roads.KEPT_FOR})
        connection.execute(_CLOSE_LANES, parameters)
