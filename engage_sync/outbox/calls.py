"""Putting calls into the outbox that no definition made: they are said as they stand, in the order of their person.

Writes `messages` and `lanes`, in the transaction that resolved the calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from engage_sync.database import channels, pipeline
from engage_sync.outbox.enqueue import Priority


@dataclass(frozen=True, kw_only=True, slots=True)
class NewCall:
    """A call to be passed on to a destination. `call` and `value` are JSON text; `source_id` is None for our own.

    The identity and `value` are what people find it by; whom it is about, the call itself says.
    """

    destination_id: int
    profile_id: int
    source_id: int | None
    identity_type: str
    identity_value: str
    call_type: str
    value: str
    call: str
    as_of: datetime


# A lane that waits for its retry keeps waiting: the new message stands behind the one that failed.
_APPEND = text(
    """
    WITH message AS MATERIALIZED (
      SELECT * FROM unnest(CAST(:destinations AS smallint[]), CAST(:profiles AS bigint[]), CAST(:sources AS smallint[]),
                           CAST(:types AS text[]), CAST(:values AS text[]), CAST(:call_types AS text[]),
                           CAST(:contents AS jsonb[]), CAST(:calls AS jsonb[]), CAST(:instants AS timestamptz[]))
        WITH ORDINALITY
        AS message (destination_id, profile_id, source_id, identity_type, identity_value, call_type, value, call, as_of,
                    place)
    ), opened AS (
      INSERT INTO lanes (profile_id, destination_id, priority)
      SELECT DISTINCT profile_id, destination_id, CAST(:priority AS smallint) FROM message
      ORDER BY profile_id, destination_id
      ON CONFLICT (profile_id, destination_id) DO UPDATE SET priority = least(lanes.priority, excluded.priority)
    ), appended AS (
      INSERT INTO messages (destination_id, profile_id, source_id, identity_type, identity_value, call_type, value,
                            call, as_of)
      SELECT destination_id, profile_id, source_id, identity_type, identity_value, call_type, value, call, as_of
      FROM message ORDER BY place
    )
    SELECT pg_notify(:channel, '')
    """
)


def append(connection: Connection, calls: Sequence[NewCall], *, priority: Priority = Priority.REALTIME) -> None:
    """Put calls behind what waits for the same people, in the given order, and open their lanes."""
    if not calls:
        return
    pipeline.rows(
        connection,
        _APPEND,
        {
            "destinations": [each.destination_id for each in calls],
            "profiles": [each.profile_id for each in calls],
            "sources": [each.source_id for each in calls],
            "types": [each.identity_type for each in calls],
            "values": [each.identity_value for each in calls],
            "call_types": [each.call_type for each in calls],
            "contents": [each.value for each in calls],
            "calls": [each.call for each in calls],
            "instants": [each.as_of for each in calls],
            "priority": int(priority),
            "channel": channels.OUTBOX,
        },
    )
