"""What each identity was told, against what its destination says it holds: whom to ask, and what follows.

Reads identities, snapshots and `told`; writes `told`, in the caller's transaction and under the definition's lock. Only
what nobody touched since it was compared is written: in the meantime something may have been said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from engage_sync.profiles.companion import user_id_of


class Identity(NamedTuple):
    """Whom a destination is asked about; in the order of the keys that pages go by."""

    value: str
    type: str


START = Identity("", "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """What an identity was told of a definition by identify; values are JSON text, None: none.

    `profile_id` and `user_id` are its holder's, `wanted` what the holder's snapshot says. `version` None: never told.
    `is_open`: something waits or isn't known for certain, so that there is nothing to compare.
    """

    identity: Identity
    definition_id: int
    profile_id: int | None
    user_id: str | None
    wanted: str | None
    version: int | None
    confirmed_version: int | None
    confirmed: str | None
    is_open: bool


# `confirmed` says that something was taken; what was only ever enqueued is not known there yet.
_TOLD = """
    FROM told
    WHERE destination_id = :destination AND definition_id = ANY(CAST(:definitions AS integer[]))
      AND call_type = 'identify' AND confirmed IS NOT NULL
"""
_TOLD_PAGE = text(
    "SELECT DISTINCT identity_value, identity_type"
    + _TOLD
    + "AND (identity_value, identity_type) > (:value, :type) ORDER BY identity_value, identity_type LIMIT :limit"
)
_TOLD_SAMPLE = text(
    "SELECT identity_value, identity_type"
    + _TOLD
    + "GROUP BY identity_value, identity_type ORDER BY random() LIMIT :limit"
)
_TOLD_COUNT = text("SELECT count(DISTINCT (identity_value, identity_type))" + _TOLD)
# Everybody as they are told: by each email, by the user id for want of one.
_KNOWN = """
    FROM identities
    WHERE (type = 'email' OR (type = 'user_id' AND NOT EXISTS (
      SELECT FROM identities AS email WHERE email.profile_id = identities.profile_id AND email.type = 'email'
    )))
"""
_KNOWN_PAGE = text(
    "SELECT value, type" + _KNOWN + "AND (value, type) > (:value, :type) ORDER BY value, type LIMIT :limit"
)
_KNOWN_SAMPLE = text("SELECT value, type" + _KNOWN + "ORDER BY random() LIMIT :limit")
_KNOWN_COUNT = text("SELECT count(*)" + _KNOWN)
_STANDINGS = text(
    f"""
    SELECT person.value, person.type, definition.id AS definition_id, holder.profile_id, known.value AS user_id,
           snapshots.value::text AS wanted, told.version, told.confirmed_version, told.confirmed::text AS confirmed,
           coalesce(told.enqueued IS NOT NULL OR told.is_unknown, false) AS is_open
    FROM unnest(CAST(:values AS text[]), CAST(:types AS text[])) AS person (value, type)
    CROSS JOIN unnest(CAST(:definitions AS integer[])) AS definition (id)
    LEFT JOIN identities AS holder ON holder.value = person.value AND holder.type = person.type
    LEFT JOIN LATERAL ({user_id_of("holder.profile_id", "person.type", "person.value")}) AS known ON true
    LEFT JOIN snapshots ON snapshots.profile_id = holder.profile_id AND snapshots.definition_id = definition.id
    LEFT JOIN told ON told.identity_value = person.value AND told.identity_type = person.type
      AND told.destination_id = :destination AND told.definition_id = definition.id AND told.call_type = 'identify'
    ORDER BY person.value, person.type, definition.id
    """  # noqa: S608 - names of columns
)
_COMPARED = """
    unnest(CAST(:values AS text[]), CAST(:types AS text[]), CAST(:versions AS integer[]),
           CAST(:confirmed_versions AS integer[]), CAST(:contents AS jsonb[]))
      AS compared (identity_value, identity_type, version, confirmed_version, content)
"""
_SAME = """
    told.identity_value = compared.identity_value AND told.identity_type = compared.identity_type
    AND told.destination_id = :destination AND told.definition_id = :definition AND told.call_type = 'identify'
    AND told.version = compared.version AND told.confirmed_version = compared.confirmed_version
    AND told.enqueued IS NULL
"""
_DOUBT = text(
    "UPDATE told SET is_unknown = true FROM" + _COMPARED + "WHERE" + _SAME + "RETURNING told.profile_id"  # noqa: S608 - as above
)
# Who isn't there was told nothing: only who has a value is told it, and nobody is made to hear that they have none.
_FORGET = text(
    "UPDATE told SET confirmed = NULL, is_unknown = false FROM"  # noqa: S608 - constants of this module
    + _COMPARED
    + "WHERE"
    + _SAME
    + "RETURNING told.profile_id"
)
_TAKE = text(
    "UPDATE told SET confirmed = compared.content, is_unknown = false, is_adopted = compared.content IS NOT NULL FROM"  # noqa: S608 - as above
    + _COMPARED
    + "WHERE"
    + _SAME
    + "RETURNING told.profile_id"
)
# An event told the same when the field was written, by whoever did it: it isn't told again. Whoever was forgotten since
# the destination was asked is not named again.
_ADOPT = text(
    """
    INSERT INTO told (identity_value, identity_type, destination_id, definition_id, call_type, profile_id, version,
                      confirmed, is_adopted)
    SELECT person.value, person.type, :destination, :definition, call.type, person.profile_id, 0, person.content, true
    FROM unnest(CAST(:values AS text[]), CAST(:types AS text[]), CAST(:profiles AS bigint[]),
                CAST(:contents AS jsonb[])) AS person (value, type, profile_id, content)
    JOIN identities USING (value, type, profile_id)
    CROSS JOIN unnest(CAST(:call_types AS text[])) AS call (type)
    ORDER BY person.value COLLATE "C", person.type COLLATE "C", call.type
    ON CONFLICT (identity_value, identity_type, destination_id, definition_id, call_type) DO NOTHING
    RETURNING identity_value, identity_type, profile_id
    """
)
_DOUBT_PEOPLE = text(
    """
    UPDATE told SET is_unknown = true
    WHERE profile_id = ANY(CAST(:profiles AS bigint[])) AND definition_id = :definition
      AND call_type = ANY(CAST(:call_types AS text[])) AND confirmed IS NOT NULL AND enqueued IS NULL
    """
)
# Everybody with a value, and everybody who was told one: some lost theirs since.
_CONCERNED = text(
    """
    SELECT profile_id FROM (
      (SELECT profile_id FROM snapshots WHERE definition_id = :definition AND profile_id > :after
       ORDER BY profile_id LIMIT :limit)
      UNION
      (SELECT DISTINCT profile_id FROM told WHERE definition_id = :definition AND profile_id > :after
       ORDER BY profile_id LIMIT :limit)
    ) AS concerned
    ORDER BY profile_id LIMIT :limit
    """
)


def count(connection: Connection, destination: int, definitions: Sequence[int], *, everybody: bool) -> int:
    """How many identities were told of these definitions; `everybody`: how many could be."""
    if everybody:
        return int(connection.execute(_KNOWN_COUNT).scalar_one())
    given = {"destination": destination, "definitions": list(definitions)}
    return int(connection.execute(_TOLD_COUNT, given).scalar_one())


def page(
    connection: Connection,
    destination: int,
    definitions: Sequence[int],
    *,
    everybody: bool,
    after: Identity | None,
    limit: int,
) -> list[Identity]:
    """The next identities that were told of these, or that could be; `after` None: any of them, by chance."""
    given: dict[str, Any] = {"limit": limit}
    if not everybody:
        given |= {"destination": destination, "definitions": list(definitions)}
    if after is not None:
        given |= {"value": after.value, "type": after.type}
        statement = _KNOWN_PAGE if everybody else _TOLD_PAGE
    else:
        statement = _KNOWN_SAMPLE if everybody else _TOLD_SAMPLE
    return [Identity(*row) for row in connection.execute(statement, given)]


def standings(
    connection: Connection,
    destination: int,
    definitions: Sequence[int],
    identities: Sequence[Identity],
    *,
    user_id_once: bool,
) -> list[Standing]:
    """What each of these identities was told of each definition, identity by identity.

    `user_id_once`: of several emails of a person only the first one has the user id beside it.
    """
    rows = connection.execute(
        _STANDINGS,
        {
            "destination": destination,
            "definitions": list(definitions),
            "values": [identity.value for identity in identities],
            "types": [identity.type for identity in identities],
            "user_id_once": user_id_once,
        },
    )
    return [
        Standing(
            identity=Identity(row.value, row.type),
            definition_id=row.definition_id,
            profile_id=row.profile_id,
            user_id=row.user_id,
            wanted=row.wanted,
            version=row.version,
            confirmed_version=row.confirmed_version,
            confirmed=row.confirmed,
            is_open=row.is_open,
        )
        for row in rows
    ]


def doubt(connection: Connection, destination: int, definition: int, different: Sequence[Standing]) -> list[int]:
    """The destination holds something else: what these were told is unknown. Returns their profiles."""
    return _update(connection, _DOUBT, destination, definition, [(each, None) for each in different])


def forget(connection: Connection, destination: int, definition: int, missing: Sequence[Standing]) -> list[int]:
    """The destination doesn't know these: they were told nothing. Returns their profiles."""
    return _update(connection, _FORGET, destination, definition, [(each, None) for each in missing])


def take(
    connection: Connection, destination: int, definition: int, held: Sequence[tuple[Standing, str | None]]
) -> list[int]:
    """What the destination holds of these (JSON text) is what they were told; None: nothing. Returns their profiles."""
    return _update(connection, _TAKE, destination, definition, held)


def adopt(
    connection: Connection,
    destination: int,
    definition: int,
    call_types: Sequence[str],
    held: Sequence[tuple[Standing, str]],
) -> dict[Identity, int]:
    """What the destination holds of those who were told nothing is what they were told. Returns whose profile each is.

    Left out is who isn't known (any more), and who was told something since.
    """
    known = [(standing, content) for standing, content in held if standing.profile_id is not None]
    if not known:
        return {}
    rows = connection.execute(
        _ADOPT,
        {
            "destination": destination,
            "definition": definition,
            "call_types": list(call_types),
            "values": [standing.identity.value for standing, _ in known],
            "types": [standing.identity.type for standing, _ in known],
            "profiles": [standing.profile_id for standing, _ in known],
            "contents": [content for _, content in known],
        },
    )
    return {Identity(row.identity_value, row.identity_type): row.profile_id for row in rows}


def concerned(connection: Connection, definition: int, *, after: int, limit: int) -> list[int]:
    """The next profiles that have a value or were told one."""
    given = {"definition": definition, "after": after, "limit": limit}
    return list(connection.execute(_CONCERNED, given).scalars())


def doubt_people(connection: Connection, definition: int, call_types: Sequence[str], profiles: Sequence[int]) -> None:
    """What these were told of a definition is unknown everywhere; where something waits, that is said anyway."""
    given = {"definition": definition, "call_types": list(call_types), "profiles": list(profiles)}
    connection.execute(_DOUBT_PEOPLE, given)


def _update(
    connection: Connection,
    statement: Any,
    destination: int,
    definition: int,
    compared: Sequence[tuple[Standing, str | None]],
) -> list[int]:
    if not compared:
        return []
    rows = connection.execute(
        statement,
        {
            "destination": destination,
            "definition": definition,
            "values": [standing.identity.value for standing, _ in compared],
            "types": [standing.identity.type for standing, _ in compared],
            "versions": [standing.version for standing, _ in compared],
            "confirmed_versions": [standing.confirmed_version for standing, _ in compared],
            "contents": [content for _, content in compared],
        },
    )
    return list(rows.scalars())
