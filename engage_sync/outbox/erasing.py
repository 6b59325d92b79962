"""What waits for people, was delivered to them or failed: withdrawn while they are suppressed, deleted when forgotten.

Reads who they are known as, in all that later stages keep; writes `messages`, `dead_letters` and `delivered`, `told` by
way of snapshots/. What asks destinations to forget (outbox/forgetting.py) is left alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from engage_sync.ingest.erasing import patterns, rub_out
from engage_sync.messages.forwarded import addressed
from engage_sync.profiles.erasing import Erased
from engage_sync.profiles.identifiers import Identifier
from engage_sync.snapshots import settled
from engage_sync.snapshots.settled import Ended, ToldKey

# --- who they are -------------------------------------------------------------------------------------------------

# All that names them, by the profile that they are now (`profile_id`), what was said under one that was merged away
# included. What somebody else holds by now is somebody else's.
_IDENTIFIERS = text(
    """
    WITH whole AS MATERIALIZED (
      SELECT profile_id, profile_id AS any_id FROM unnest(CAST(:profiles AS bigint[])) AS person (profile_id)
      UNION ALL
      SELECT lost_profiles.profile_id, lost_id FROM lost_profiles
      WHERE lost_profiles.profile_id = ANY(CAST(:profiles AS bigint[]))
    ), said AS (
      SELECT whole.profile_id, identity_type AS type, identity_value AS value
      FROM whole JOIN told ON told.profile_id = whole.any_id
      UNION
      SELECT whole.profile_id, identity_type, identity_value
      FROM whole JOIN messages ON messages.profile_id = whole.any_id
      UNION
      SELECT whole.profile_id, identity_type, identity_value
      FROM whole JOIN delivered ON delivered.profile_id = whole.any_id
      UNION
      SELECT whole.profile_id, identity_type, identity_value
      FROM whole JOIN dead_letters ON dead_letters.profile_id = whole.any_id
      UNION
      SELECT whole.profile_id, 'email', lower(btrim(traits.value #>> '{}'))
      FROM whole JOIN traits ON traits.profile_id = whole.any_id
      WHERE traits.name = 'email' AND jsonb_typeof(traits.value) = 'string' AND traits.value #>> '{}' LIKE '_%@_%'
    )
    SELECT profile_id, type, value FROM identities WHERE profile_id = ANY(CAST(:profiles AS bigint[]))
    UNION
    SELECT profile_id, type, value FROM said
    WHERE NOT EXISTS (
      SELECT FROM identities AS other
      WHERE other.value = said.value AND other.type = said.type AND other.profile_id <> said.profile_id
    )
    """
)
_TOLD_AT = text(
    """
    SELECT DISTINCT profile_id, destination_id FROM told WHERE profile_id = ANY(CAST(:profiles AS bigint[]))
    """
)


def identifiers(connection: Connection, profiles: Sequence[int]) -> dict[int, set[Identifier]]:
    """Everything by which these profiles are known, here or where something was sent."""
    found: dict[int, set[Identifier]] = {profile: set() for profile in profiles}
    for profile, type_, value in connection.execute(_IDENTIFIERS, {"profiles": list(profiles)}):
        found[profile].add((type_, value))
    return found


def told_at(connection: Connection, profiles: Sequence[int]) -> dict[int, set[int]]:
    """The destinations that were told something of each profile."""
    found: dict[int, set[int]] = {}
    for profile, destination in connection.execute(_TOLD_AT, {"profiles": list(profiles)}):
        found.setdefault(profile, set()).add(destination)
    return found


# --- what waits ---------------------------------------------------------------------------------------------------

# Lanes stay: a worker closes an empty one; and one that a worker has keeps what comes next behind its request.
_WITHDRAW = text(
    """
    DELETE FROM messages
    WHERE profile_id = ANY(CAST(:profiles AS bigint[])) AND call_type <> 'forget'
    RETURNING profile_id, destination_id, definition_id, identity_type, identity_value, call_type, value::text,
              told_version, started_at
    """
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Withdrawn:
    """How many messages were withdrawn, by profile; by (profile, destination), when a request was started last that may
    still be on its way."""

    messages: Mapping[int, int]
    under_way: Mapping[tuple[int, int], datetime]


def withdraw(connection: Connection, profiles: Sequence[int]) -> Withdrawn:
    """Take back all that waits for these profiles. Of what is under way the end is not noted any more.

    What it told is unknown from then on.
    """
    rows = connection.execute(_WITHDRAW, {"profiles": list(profiles)}).all()
    settled.withdraw(connection, [_ended(row) for row in rows if row.definition_id is not None])
    under_way: dict[tuple[int, int], datetime] = {}
    for row in rows:
        if row.started_at is not None:
            place = row.profile_id, row.destination_id
            under_way[place] = max(row.started_at, under_way.get(place, row.started_at))
    return Withdrawn(messages=Counter(row.profile_id for row in rows), under_way=under_way)


def _ended(row: Any) -> Ended:
    key = ToldKey(row.identity_value, row.identity_type, row.destination_id, row.definition_id, row.call_type)
    return Ended(key=key, told_version=row.told_version, value=row.value, is_unknown=row.started_at is not None)


# --- what is over -------------------------------------------------------------------------------------------------

_BY_PROFILE = {
    table: text(
        f"WITH gone AS (DELETE FROM {table} WHERE profile_id = ANY(CAST(:profiles AS bigint[])){besides}"  # noqa: S608 - constants of this module
        " RETURNING profile_id) SELECT profile_id, count(*) FROM gone GROUP BY profile_id"
    )
    for table, besides in (
        ("messages", " AND call_type <> 'forget'"),
        ("dead_letters", " AND call_type <> 'forget'"),
        ("delivered", ""),
    )
}
# Somebody else's call that a destination would take to be theirs, as it has their email: found by reading them all.
_MENTIONS = {
    table: text(
        f"SELECT id, call FROM {table}"  # noqa: S608 - constants of this module
        " WHERE call_type <> 'forget' AND lower(call::text) LIKE ANY(CAST(:patterns AS text[]))"
    )
    for table in ("messages", "dead_letters")
}
_DELETE = {
    table: text(f"DELETE FROM {table} WHERE id = :id")  # noqa: S608 - constants of this module
    for table in ("messages", "dead_letters")
}
_ADDRESSED = {
    table: text(
        f"""
        DELETE FROM {table}
        USING unnest(CAST(:types AS text[]), CAST(:values AS text[])) AS theirs (type, value)
        WHERE identity_type = theirs.type AND identity_value = theirs.value AND call_type <> 'forget'
        RETURNING identity_type, identity_value
        """  # noqa: S608 - constants of this module
    )
    for table in ("messages", "dead_letters")
}


_COMPLAINTS = tuple(
    (
        text(f"SELECT id, {column} FROM {table} WHERE lower({column}) LIKE ANY(CAST(:patterns AS text[]))"),  # noqa: S608 - constants of this module
        text(f"UPDATE {table} SET {column} = :content WHERE id = :id"),  # noqa: S608 - constants of this module
    )
    for table, column in (("messages", "last_error"), ("destinations", "paused_reason"))
)


def people(connection: Connection, profiles: Sequence[int]) -> Erased:
    """Delete what waited, was delivered or failed; not what asks destinations to forget. As often as one likes."""
    erased: Erased = {profile: Counter() for profile in profiles}
    for table, statement in _BY_PROFILE.items():
        for profile, number in connection.execute(statement, {"profiles": list(profiles)}):
            erased[profile][table] += number
    return erased


def mentions(
    connection: Connection, theirs: Mapping[Identifier, int], *, waiting_only: bool = False
) -> dict[int, Counter[str]]:
    """Delete what would reach these people though it was kept as somebody else's; how much, by request and table.

    `theirs` are identifiers with their requests. What destinations complained of no longer names them.
    """
    gone: dict[int, Counter[str]] = {request: Counter() for request in theirs.values()}
    columns = {"types": [each[0] for each in theirs], "values": [each[1] for each in theirs]}
    values = [each[1] for each in theirs]
    for table in ("messages",) if waiting_only else ("messages", "dead_letters"):
        for row in connection.execute(_ADDRESSED[table], columns):
            gone[theirs[row.identity_type, row.identity_value]][table] += 1
        for row in connection.execute(_MENTIONS[table], {"patterns": patterns(values)}).all():
            named = addressed(row.call) & theirs.keys()
            if named:
                connection.execute(_DELETE[table], {"id": row.id})
                gone[theirs[min(named)]][table] += 1
    for find, replace in () if waiting_only else _COMPLAINTS:
        rub_out(connection, find, replace, values)
    return gone
