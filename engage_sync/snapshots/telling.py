"""What each identity was told, against what it should be told: the one rule that makes every message.

First pushes, increments, a new email on a profile, merges, exits of identities that went away and resyncs are all this
difference. Writes `told`, in the caller's transaction and under the definition's lock.

Whom a person is told as: each email; the user id for want of one. An identity is told the value of the profile that
holds it now; if none holds it, that there is none. A user id that was told for want of an email is succeeded by the
first email, and hears nothing more (in the destination both are one user). Suppressed people are told nothing.
Source: docs/decisions/0005-telling.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from engage_sync.database import pipeline
from engage_sync.database.pipeline import Query, Rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Channel:
    """One way to tell of a definition: `call_type` is identify or track.

    `nothing` is the JSON text that tells that there is no value (any more).
    """

    definition_id: int
    destination_id: int
    call_type: str
    nothing: str
    is_audience: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Telling:
    """An identity that should be told `value` (JSON text), or that was succeeded and is told nothing more.

    `confirmed` is what the destination last took, `enqueued` what waits; None: nothing. `profile_id` is whose message
    it is: the holder's, or else the profile's that was told last. `is_adopted`: what is confirmed was read from the
    destination, in its own writing of dates and numbers, and nothing was said since.
    """

    identity_type: str
    identity_value: str
    definition_id: int
    destination_id: int
    call_type: str
    profile_id: int
    value: str
    was_told: bool
    enqueued: str | None
    confirmed: str | None
    succeeded: bool
    is_settled: bool
    is_adopted: bool


_NEEDED = text(
    """
    WITH affected AS MATERIALIZED (
      SELECT DISTINCT definition_id, profile_id
      FROM unnest(CAST(:definitions AS integer[]), CAST(:profiles AS bigint[])) AS affected (definition_id, profile_id)
    ), channel AS MATERIALIZED (
      SELECT * FROM unnest(CAST(:channel_definitions AS integer[]), CAST(:destinations AS smallint[]),
                           CAST(:call_types AS text[]), CAST(:nothing AS jsonb[]), CAST(:are_audiences AS boolean[]))
        AS channel (definition_id, destination_id, call_type, nothing, is_audience)
    ), candidate AS (
      SELECT identities.type, identities.value, affected.definition_id, channel.destination_id, channel.call_type
      FROM affected JOIN identities USING (profile_id) JOIN channel USING (definition_id)
      WHERE identities.type IN ('email', 'user_id')
      UNION
      -- Also those that went away: they were told through one of these people.
      SELECT told.identity_type, told.identity_value, told.definition_id, told.destination_id, told.call_type
      FROM affected JOIN told USING (profile_id, definition_id)
      JOIN channel USING (definition_id, destination_id, call_type)
    ), compared AS (
      SELECT candidate.type, candidate.value, candidate.definition_id, candidate.destination_id, candidate.call_type,
             coalesce(holder.profile_id, told.profile_id) AS profile_id,
             coalesce(snapshots.value, channel.nothing) AS wanted,
             snapshots.value IS NOT NULL AND NOT (channel.is_audience AND snapshots.value = 'false') AS has_value,
             candidate.type = 'user_id' AND EXISTS (
               SELECT FROM identities AS email WHERE email.profile_id = holder.profile_id AND email.type = 'email'
             ) AS is_succeeded,
             told.version IS NOT NULL AS was_told, told.enqueued, told.confirmed,
             told.is_adopted AND NOT told.is_unknown AND told.confirmed IS NOT NULL AS is_adopted,
             coalesce(told.enqueued, told.confirmed) AS current, coalesce(told.is_unknown, false) AS is_unknown
      FROM candidate
      JOIN channel USING (definition_id, destination_id, call_type)
      LEFT JOIN identities AS holder ON holder.value = candidate.value AND holder.type = candidate.type
      LEFT JOIN snapshots ON snapshots.profile_id = holder.profile_id
        AND snapshots.definition_id = candidate.definition_id
      LEFT JOIN told ON told.identity_value = candidate.value AND told.identity_type = candidate.type
        AND told.destination_id = candidate.destination_id AND told.definition_id = candidate.definition_id
        AND told.call_type = candidate.call_type
    )
    SELECT type, value, definition_id, destination_id, call_type, profile_id, wanted::text, was_told, enqueued::text,
           confirmed::text, is_succeeded,
           -- Should an unsent message be taken back, this is what is true without it.
           NOT is_unknown AND coalesce(confirmed = wanted, NOT has_value) AS is_settled,
           coalesce(is_adopted, false) AS is_adopted
    FROM compared
    -- By key: for an EXISTS the planner reads all who are suppressed.
    WHERE (SELECT true FROM suppressed_profiles AS silent WHERE silent.profile_id = compared.profile_id) IS NULL
      AND CASE
      WHEN is_succeeded THEN current IS NOT NULL
      -- Whatever may have arrived: what is true has to be said.
      WHEN is_unknown AND enqueued IS NULL THEN true
      WHEN current IS NULL THEN has_value
      ELSE current <> wanted
    END
    ORDER BY profile_id, definition_id, call_type, type, value, destination_id
    """
)
# Whoever holds an identity answers for it, also where there is nothing to say now: when it goes away again, that is
# how it is found. By the key, as a row that was settled while this waited for it has another place than the statement
# sees.
_FOLLOW = text(
    """
    WITH moved AS MATERIALIZED (
      SELECT told.identity_value, told.identity_type, told.destination_id, told.definition_id, told.call_type,
             identities.profile_id
      FROM (SELECT DISTINCT * FROM unnest(CAST(:definitions AS integer[]), CAST(:profiles AS bigint[])))
        AS affected (definition_id, profile_id)
      JOIN identities USING (profile_id)
      JOIN told ON told.identity_value = identities.value AND told.identity_type = identities.type
        AND told.definition_id = affected.definition_id AND told.profile_id <> identities.profile_id
      ORDER BY told.identity_value, told.identity_type, told.destination_id, told.definition_id, told.call_type
      FOR UPDATE OF told
    )
    UPDATE told SET profile_id = moved.profile_id
    FROM moved
    WHERE told.identity_value = moved.identity_value AND told.identity_type = moved.identity_type
      AND told.destination_id = moved.destination_id AND told.definition_id = moved.definition_id
      AND told.call_type = moved.call_type
    """
)
# In the order of the identities, so that two definitions' transactions can't wait for each other in a ring.
_ENQUEUED = text(
    """
    INSERT INTO told (identity_value, identity_type, destination_id, definition_id, call_type, profile_id, version,
                      enqueued)
    SELECT identity_value, identity_type, destination_id, definition_id, call_type, profile_id, 1, enqueued
    FROM unnest(CAST(:values AS text[]), CAST(:types AS text[]), CAST(:destinations AS smallint[]),
                CAST(:definitions AS integer[]), CAST(:call_types AS text[]), CAST(:profiles AS bigint[]),
                CAST(:enqueued AS jsonb[]))
      AS telling (identity_value, identity_type, destination_id, definition_id, call_type, profile_id, enqueued)
    ORDER BY identity_value COLLATE "C", identity_type COLLATE "C", destination_id, definition_id, call_type
    ON CONFLICT (identity_value, identity_type, destination_id, definition_id, call_type) DO UPDATE
    -- What is unknown stays so until the destination takes something: this message may be refused, or taken back.
    SET version = told.version + 1, enqueued = excluded.enqueued, profile_id = excluded.profile_id, is_adopted = false
    RETURNING identity_value, identity_type, destination_id, definition_id, call_type, version
    """
)
_QUIET = text(
    """
    UPDATE told SET enqueued = NULL, confirmed = CASE WHEN telling.succeeded THEN NULL ELSE confirmed END
    FROM unnest(CAST(:values AS text[]), CAST(:types AS text[]), CAST(:destinations AS smallint[]),
                CAST(:definitions AS integer[]), CAST(:call_types AS text[]), CAST(:succeeded AS boolean[]))
      AS telling (identity_value, identity_type, destination_id, definition_id, call_type, succeeded)
    WHERE told.identity_value = telling.identity_value AND told.identity_type = telling.identity_type
      AND told.destination_id = telling.destination_id AND told.definition_id = telling.definition_id
      AND told.call_type = telling.call_type
    """
)

_AGREE = text(
    """
    UPDATE told SET confirmed = telling.value, is_adopted = false
    FROM unnest(CAST(:values AS text[]), CAST(:types AS text[]), CAST(:destinations AS smallint[]),
                CAST(:definitions AS integer[]), CAST(:call_types AS text[]), CAST(:contents AS jsonb[]))
      AS telling (identity_value, identity_type, destination_id, definition_id, call_type, value)
    WHERE told.identity_value = telling.identity_value AND told.identity_type = telling.identity_type
      AND told.destination_id = telling.destination_id AND told.definition_id = telling.definition_id
      AND told.call_type = telling.call_type
    """
)
# Version 0, as of what was adopted: nothing was ever enqueued.
_SUPPOSE = text(
    """
    INSERT INTO told (identity_value, identity_type, destination_id, definition_id, call_type, profile_id, version,
                      confirmed)
    SELECT identity_value, identity_type, destination_id, definition_id, call_type, profile_id, 0, confirmed
    FROM unnest(CAST(:values AS text[]), CAST(:types AS text[]), CAST(:destinations AS smallint[]),
                CAST(:definitions AS integer[]), CAST(:call_types AS text[]), CAST(:profiles AS bigint[]),
                CAST(:contents AS jsonb[]))
      AS telling (identity_value, identity_type, destination_id, definition_id, call_type, profile_id, confirmed)
    ORDER BY identity_value COLLATE "C", identity_type COLLATE "C", destination_id, definition_id, call_type
    ON CONFLICT (identity_value, identity_type, destination_id, definition_id, call_type) DO UPDATE
    SET confirmed = excluded.confirmed, profile_id = excluded.profile_id, is_unknown = false, is_adopted = false
    """
)

Key = tuple[str, str, int, int, str]


def key(telling: Telling) -> Key:
    """What a row in `told` is found by."""
    return (
        telling.identity_value,
        telling.identity_type,
        telling.destination_id,
        telling.definition_id,
        telling.call_type,
    )


def following(affected: Sequence[tuple[int, int]]) -> Query[None]:
    """Makes what was told to identities that these (definition, profile) hold theirs from now on."""
    given = {"definitions": [each[0] for each in affected], "profiles": [each[1] for each in affected]}
    return Query(_FOLLOW, given, pipeline.nothing)


def needing(channels: Sequence[Channel], affected: Sequence[tuple[int, int]]) -> Query[list[Telling]]:
    """Asks who must be told what, because of these (definition, profile): a snapshot or somebody's identities changed.

    In the order in which a person is told: definition by definition, identify before track.
    """
    given = {
        "definitions": [definition for definition, _ in affected],
        "profiles": [profile for _, profile in affected],
        "channel_definitions": [channel.definition_id for channel in channels],
        "destinations": [channel.destination_id for channel in channels],
        "call_types": [channel.call_type for channel in channels],
        "nothing": [channel.nothing for channel in channels],
        "are_audiences": [channel.is_audience for channel in channels],
    }
    return Query(_NEEDED, given, _tellings)


def _tellings(rows: Rows) -> list[Telling]:
    return [
        Telling(
            identity_type=row[0],
            identity_value=row[1],
            definition_id=row[2],
            destination_id=row[3],
            call_type=row[4],
            profile_id=row[5],
            value=row[6],
            was_told=row[7],
            enqueued=row[8],
            confirmed=row[9],
            succeeded=row[10],
            is_settled=row[11],
            is_adopted=row[12],
        )
        for row in rows
    ]


def enqueued(connection: Connection, tellings: Sequence[Telling]) -> dict[Key, int]:
    """Note what now waits to be said; return the version of each, which makes its message id."""
    if not tellings:
        return {}
    rows = pipeline.rows(
        connection,
        _ENQUEUED,
        {
            **_columns(tellings),
            "profiles": [telling.profile_id for telling in tellings],
            "enqueued": [telling.value for telling in tellings],
        },
    )
    return {(row[0], row[1], row[2], row[3], row[4]): row[5] for row in rows}


def quiet(connection: Connection, tellings: Sequence[Telling]) -> None:
    """Nothing waits any more for these: taken back unsent, or succeeded by an email."""
    if tellings:
        succeeded = [telling.succeeded for telling in tellings]
        pipeline.rows(connection, _QUIET, {**_columns(tellings), "succeeded": succeeded})


def agree(connection: Connection, tellings: Sequence[Telling]) -> None:
    """The destination says the same in its own writing: these count as told, though nothing was sent."""
    if tellings:
        values = [telling.value for telling in tellings]
        pipeline.rows(connection, _AGREE, {**_columns(tellings), "contents": values})


def suppose(connection: Connection, tellings: Sequence[Telling]) -> None:
    """These count as told, though nothing was sent."""
    if tellings:
        profiles = [telling.profile_id for telling in tellings]
        values = [telling.value for telling in tellings]
        pipeline.rows(connection, _SUPPOSE, {**_columns(tellings), "profiles": profiles, "contents": values})


def _columns(tellings: Sequence[Telling]) -> dict[str, Any]:
    return {
        "definitions": [telling.definition_id for telling in tellings],
        "values": [telling.identity_value for telling in tellings],
        "types": [telling.identity_type for telling in tellings],
        "destinations": [telling.destination_id for telling in tellings],
        "call_types": [telling.call_type for telling in tellings],
    }
