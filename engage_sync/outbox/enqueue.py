"""Putting messages into the outbox, and taking back what was never sent.

Writes `messages` and `lanes`, in the transaction that wrote the snapshot, its change and what is told.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from sqlalchemy import Connection, text

from engage_sync.database import channels, pipeline


class Priority(IntEnum):
    """Lower goes first; the last one is sure of a tenth."""

    REALTIME = 0
    TICK = 1
    FIRST_PUSH = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class NewMessage:
    """A message to be; `value` is JSON text."""

    definition_id: int
    definition_version: int
    run_id: int
    destination_id: int
    profile_id: int
    identity_type: str
    identity_value: str
    call_type: str
    value: str
    told_version: int


Address = tuple[int, int, int, str, str]

# Only what no worker ever started: a started request may be on its way, and what follows must come after it.
_WITHDRAW = text(
    """
    DELETE FROM messages
    USING unnest(CAST(:definitions AS integer[]), CAST(:destinations AS smallint[]), CAST(:profiles AS bigint[]),
                 CAST(:types AS text[]), CAST(:values AS text[]))
      AS unsent (definition_id, destination_id, profile_id, identity_type, identity_value)
    WHERE messages.profile_id = unsent.profile_id AND messages.destination_id = unsent.destination_id
      AND messages.identity_type = unsent.identity_type AND messages.identity_value = unsent.identity_value
      AND messages.definition_id = unsent.definition_id AND messages.call_type = 'identify'
      AND messages.attempts = 0
    RETURNING messages.definition_id, messages.destination_id, messages.profile_id, messages.identity_type,
              messages.identity_value,
              EXISTS (
                SELECT FROM messages AS started
                WHERE started.profile_id = messages.profile_id AND started.destination_id = messages.destination_id
                  AND started.identity_type = messages.identity_type
                  AND started.identity_value = messages.identity_value
                  AND started.definition_id = messages.definition_id AND started.call_type = 'identify'
                  AND started.attempts > 0
              ) AS is_under_way
    """
)
# A lane that waits for its retry keeps waiting: the new message stands behind the one that failed.
_APPEND = text(
    """
    WITH message AS MATERIALIZED (
      SELECT * FROM unnest(CAST(:destinations AS smallint[]), CAST(:profiles AS bigint[]), CAST(:types AS text[]),
                           CAST(:values AS text[]), CAST(:call_types AS text[]), CAST(:contents AS jsonb[]),
                           CAST(:told_versions AS integer[]), CAST(:definitions AS integer[]),
                           CAST(:versions AS integer[]), CAST(:runs AS bigint[])) WITH ORDINALITY
        AS message (destination_id, profile_id, identity_type, identity_value, call_type, value, told_version,
                    definition_id, definition_version, run_id, place)
    ), opened AS (
      INSERT INTO lanes (profile_id, destination_id, priority)
      SELECT DISTINCT profile_id, destination_id, CAST(:priority AS smallint) FROM message
      ORDER BY profile_id, destination_id
      ON CONFLICT (profile_id, destination_id) DO UPDATE SET priority = least(lanes.priority, excluded.priority)
    ), appended AS (
      INSERT INTO messages (destination_id, profile_id, definition_id, definition_version, run_id, identity_type,
                            identity_value, call_type, value, told_version, as_of)
      SELECT destination_id, profile_id, definition_id, definition_version, run_id, identity_type, identity_value,
             call_type, value, told_version, :as_of
      FROM message ORDER BY place
    )
    SELECT pg_notify(:channel, '')
    """
)


def withdraw(connection: Connection, addresses: Collection[Address]) -> set[Address]:
    """Take back identifies that wait and were never started: (definition, destination, profile, identity type, value).

    Returns those that were there to be taken and leave nothing of theirs under way: where an older value was started,
    it may still arrive, and what is true must be said after it. Lanes stay; a worker closes an empty one.
    """
    if not addresses:
        return set()
    rows = pipeline.rows(
        connection,
        _WITHDRAW,
        {
            "definitions": [address[0] for address in addresses],
            "destinations": [address[1] for address in addresses],
            "profiles": [address[2] for address in addresses],
            "types": [address[3] for address in addresses],
            "values": [address[4] for address in addresses],
        },
    )
    return {(row[0], row[1], row[2], row[3], row[4]) for row in rows if not row.is_under_way}


def append(connection: Connection, messages: Sequence[NewMessage], *, as_of: datetime, priority: Priority) -> None:
    """Put messages behind what waits for the same people, in the given order, and open their lanes."""
    if not messages:
        return
    profiles = [message.profile_id for message in messages]
    destinations = [message.destination_id for message in messages]
    pipeline.rows(
        connection,
        _APPEND,
        {
            "definitions": [message.definition_id for message in messages],
            "versions": [message.definition_version for message in messages],
            "runs": [message.run_id for message in messages],
            "as_of": as_of,
            "priority": int(priority),
            "channel": channels.OUTBOX,
            "destinations": destinations,
            "profiles": profiles,
            "types": [message.identity_type for message in messages],
            "values": [message.identity_value for message in messages],
            "call_types": [message.call_type for message in messages],
            "contents": [message.value for message in messages],
            "told_versions": [message.told_version for message in messages],
        },
    )
