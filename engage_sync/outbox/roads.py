"""Single or bulk: by which of the two roads people were sent their last message, and how long the line is.

Reads `messages`, `delivered` and `lanes`; writes nothing. A destination works through bulk requests by themselves: a
message sent by the other road soon after could overtake them, so each person keeps to a road for some minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import text

from engage_sync.database.pipeline import Query, Rows
from engage_sync.outbox.enqueue import Priority

KEPT_FOR = 300.0

# A message that was started before goes the way it went. statement_timestamp(), as partitions are left out by it.
_LAST = text(
    """
    SELECT lane.profile_id, coalesce(head.in_bulk, before.in_bulk) AS in_bulk, before.rest
    FROM unnest(CAST(:profiles AS bigint[])) AS lane (profile_id)
    LEFT JOIN LATERAL (
      SELECT messages.in_bulk FROM messages
      WHERE messages.profile_id = lane.profile_id AND messages.destination_id = :destination
      ORDER BY messages.id LIMIT 1
    ) AS head ON true
    LEFT JOIN LATERAL (
      SELECT delivered.in_bulk,
             CAST(:kept_for AS float8)
               - extract(epoch FROM statement_timestamp() - delivered.delivered_at)::float8 AS rest
      FROM delivered
      WHERE delivered.profile_id = lane.profile_id AND delivered.destination_id = :destination
        AND delivered.delivered_at > statement_timestamp() - CAST(:kept_for AS float8) * interval '1 second'
        -- So that the partitions of the days to come are left out.
        AND delivered.delivered_at < statement_timestamp() + interval '1 minute'
      ORDER BY delivered.delivered_at DESC, delivered.id DESC LIMIT 1
    ) AS before ON true
    WHERE coalesce(head.in_bulk, before.in_bulk) IS NOT NULL
    """
)
_WAITING = text(
    """
    SELECT count(*) AS lanes FROM (
      SELECT FROM lanes
      WHERE destination_id = :destination AND worker_id IS NULL AND priority = :priority
        AND due_at <= statement_timestamp()
      LIMIT :most
    ) AS lane
    """
)


class Last(NamedTuple):
    """The road of a person's last message, and for how many seconds more they keep to it."""

    in_bulk: bool
    rest: float


def asking_last(destination_id: int, profiles: Sequence[int]) -> Query[dict[int, Last]]:
    """By which road each person's last message went. Left out: those who were sent nothing in the last minutes."""
    given = {"profiles": list(profiles), "destination": destination_id, "kept_for": KEPT_FOR}
    return Query(_LAST, given, _last)


def _last(rows: Rows) -> dict[int, Last]:
    return {row.profile_id: Last(row.in_bulk, KEPT_FOR if row.rest is None else row.rest) for row in rows}


def asking_waiting(destination_id: int, most: int, priority: Priority) -> Query[int]:
    """How many lanes of a priority are due that no worker has, up to `most`."""
    given = {"destination": destination_id, "most": most, "priority": int(priority)}
    return Query(_WAITING, given, lambda rows: int(rows[0].lanes))
