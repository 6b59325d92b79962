"""Putting calls into the outbox that no definition made: they are said as they stand, in the order of their person.

Writes `messages` and `lanes`, in the transaction that resolved the calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from engage_sync.database import channels, pipeline
from engage_sync.messages.forwarded import EMAIL_CHANGE
from engage_sync.outbox.enqueue import Priority
from engage_sync.snapshots.settled import ToldKey


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


# What waits for the old email and was never started is said to the new one, behind the change.
_READDRESS = text(
    """
    WITH taken AS MATERIALIZED (
      DELETE FROM messages
      WHERE profile_id = :profile AND destination_id = ANY(CAST(:destinations AS smallint[])) AND attempts = 0
        AND definition_id IS NOT NULL AND identity_type = 'email' AND identity_value = :before
      RETURNING *
    )
    INSERT INTO messages (destination_id, profile_id, definition_id, definition_version, run_id, identity_type,
                          identity_value, call_type, value, told_version, as_of, enqueued_at)
    SELECT destination_id, profile_id, definition_id, definition_version, run_id, identity_type, :after, call_type,
           value, told_version, as_of, enqueued_at
    FROM taken ORDER BY id
    RETURNING destination_id, definition_id, call_type
    """
)
_UNDER_WAY = text(
    """
    SELECT destination_id, definition_id, call_type FROM messages
    WHERE profile_id = :profile AND destination_id = ANY(CAST(:destinations AS smallint[]))
      AND definition_id IS NOT NULL AND identity_type = 'email' AND identity_value = :before
    """
)


def readdress(
    connection: Connection, *, before: str, after: str, profile_id: int, destinations: Sequence[int]
) -> set[ToldKey]:
    """Definitions' messages that wait for one email go to another, behind all else.

    Returns what `before` is still being told by requests under way, and by nothing that follows them.
    """
    given = {"before": before, "after": after, "profile": profile_id, "destinations": list(destinations)}
    waiting = {tuple(row) for row in connection.execute(_READDRESS, given)}
    under_way = {tuple(row) for row in connection.execute(_UNDER_WAY, given)}
    return {ToldKey(before, "email", *key) for key in under_way - waiting}


_CHANGES = text(
    """
    SELECT id, profile_id, destination_id, value #>> '{}' AS before, identity_value AS after FROM messages
    WHERE profile_id = ANY(CAST(:profiles AS bigint[])) AND call_type = :email_change
    ORDER BY id
    """
)


def email_changes(connection: Connection, profiles: Sequence[int]) -> Sequence[Any]:
    """The changes of emails that wait for these people, in order: id, profile_id, destination_id, before, after."""
    return connection.execute(_CHANGES, {"profiles": list(profiles), "email_change": EMAIL_CHANGE}).all()
