"""What the tables say that the destinations were told, what counts as told, and what is true."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from psycopg.rows import dict_row

from engage_sync.messages import ids
from tests.chaos.check import Entry, Line, Word
from tests.chaos.people import WEB, Call, PassedOn, Person
from tests.chaos.postgres import Database
from tests.chaos.record import EMAIL, says
from tests.chaos.worlds import World

# What says that there is no value, for whoever was told one before.
_NOTHING: Final[Mapping[str, str]] = {"spent": "0.0", "orders": "0", "last_viewed": "null"}
_NO_MEMBER: Final = "false"

# Definitions' messages that ended, in the order in which they entered the outbox.
_ENDED: Final = """
    SELECT ended.*, destinations.slug, definitions.key, definitions.public_id, definitions.kind
    FROM (
      SELECT id, destination_id, definition_id, identity_type, identity_value, call_type, value, told_version,
             extract(epoch FROM delivered_at)::float8 AS at, false AS is_dead
      FROM delivered WHERE definition_id IS NOT NULL
      UNION ALL
      SELECT message_id, destination_id, definition_id, identity_type, identity_value, call_type, value, told_version,
             extract(epoch FROM failed_at)::float8, true
      FROM dead_letters WHERE definition_id IS NOT NULL
    ) AS ended
    JOIN destinations ON destinations.id = ended.destination_id
    JOIN definitions ON definitions.id = ended.definition_id
    ORDER BY ended.id
"""
_DEAD_CALLS: Final = """
    SELECT destinations.slug, call ->> 'messageId' AS message_id FROM dead_letters
    JOIN destinations ON destinations.id = dead_letters.destination_id WHERE definition_id IS NULL
"""
_EMAILS_CHANGED: Final = """
    SELECT destinations.slug, ended.* FROM (
      SELECT id, destination_id, identity_value AS after, value #>> '{}' AS before, false AS is_dead
      FROM delivered WHERE call_type = 'email_change'
      UNION ALL
      SELECT message_id, destination_id, identity_value, value #>> '{}', true
      FROM dead_letters WHERE call_type = 'email_change'
    ) AS ended
    JOIN destinations ON destinations.id = ended.destination_id
    ORDER BY ended.id
"""
_TOLD: Final = """
    SELECT destinations.slug, definitions.key, told.identity_value, told.confirmed
    FROM told
    JOIN destinations ON destinations.id = told.destination_id
    JOIN definitions ON definitions.id = told.definition_id
    WHERE told.call_type = 'identify' AND (told.confirmed IS NOT NULL OR told.enqueued IS NOT NULL OR told.is_unknown)
"""
# A user id with an email beside it hears nothing more.
_HEARING: Final = """
    SELECT definitions.key, heard.value AS identity, snapshots.value
    FROM snapshots
    JOIN definitions ON definitions.id = snapshots.definition_id
    JOIN identities AS heard ON heard.profile_id = snapshots.profile_id
    WHERE heard.type = 'email' OR (heard.type = 'user_id' AND NOT EXISTS (
      SELECT FROM identities AS email WHERE email.profile_id = heard.profile_id AND email.type = 'email'
    ))
"""
_VALUES: Final = """
    SELECT identities.value AS user_id, definitions.key, snapshots.value
    FROM snapshots
    JOIN definitions ON definitions.id = snapshots.definition_id
    JOIN identities ON identities.profile_id = snapshots.profile_id AND identities.type = 'user_id'
"""


def ledger(connection: Database, people: Iterable[Person], world: World) -> list[Entry]:
    """What definitions said, as the tables have it; and the calls of sources as they were accepted."""
    token = connection.execute("SELECT token FROM installation").fetchone()[0]  # type: ignore[index]
    entries = [_entry(row, token, world) for row in _rows(connection, _ENDED)]
    for row in _rows(connection, _EMAILS_CHANGED):
        word = Word(Line(row["slug"], row["after"], EMAIL), f"was {row['before']}")
        entries.append(Entry(word, is_dead=row["is_dead"]))
    dead = {(row["slug"], row["message_id"]) for row in _rows(connection, _DEAD_CALLS)}
    for person in people:
        for call in person.accepted:
            if (heard := call.passed_on) is not None:
                is_dead = [(slug, call.body["messageId"]) in dead for slug in world.destinations]
                words = [_heard(call, heard, slug, token, world) for slug in world.destinations]
                entries += map(Entry, words, is_dead)
    return entries


def _heard(call: Call, heard: PassedOn, slug: str, token: Any, world: World) -> Word:
    says, id_ = heard.says, heard.id
    is_iterable = world.type_of(slug) == "iterable"
    if heard.is_forwarded_id or not is_iterable:
        id_ = ids.forwarded_id(installation=token, destination=slug, source=WEB, message_id=call.body["messageId"])
    if not is_iterable:
        says = call.body.get("event", call.type)
    return Word(Line(slug, heard.identity, WEB), says, id_)


def _entry(row: Mapping[str, Any], token: Any, world: World) -> Entry:
    line = Line(row["slug"], row["identity_value"], row["key"])
    if row["call_type"] == "identify":
        said = says(row["key"], row["value"])
        if world.type_of(row["slug"]) == "iterable":
            # It knows no ids of updates.
            return Entry(Word(line, said, None, row["at"]), row["is_dead"])
    elif row["kind"] == "audience":
        said = "Audience Entered" if row["value"] is True else "Audience Exited"
    else:
        said = "Trait Computed"
    id_ = ids.message_id(
        installation=token,
        destination=row["slug"],
        definition=row["public_id"],
        identity_type=row["identity_type"],
        identity_value=row["identity_value"],
        call_type=row["call_type"],
        told_version=row["told_version"],
    )
    return Entry(Word(line, said, id_, row["at"]), row["is_dead"])


def confirmed(connection: Database) -> dict[Line, str]:
    """What counts as told."""
    return {
        Line(row["slug"], row["identity_value"], row["key"]): says(row["key"], row["confirmed"])
        for row in _rows(connection, _TOLD)
    }


def wanted(connection: Database, destinations: Iterable[str], known: Iterable[Line]) -> dict[Line, str]:
    """What is true, of everybody who has a value; and that they have none, of those others that are `known`.

    Who never had a value hears nothing, and so isn't here.
    """
    values = {(row["key"], row["identity"]): row["value"] for row in _rows(connection, _HEARING)}
    lines = {
        Line(slug, identity, key)
        for slug in destinations
        for (key, identity), value in values.items()
        if value is not False
    }
    found: dict[Line, str] = {}
    for line in {*lines, *known}:
        value = values.get((line.subject, line.identity), ...)
        nothing = f"{line.subject} = {_NOTHING.get(line.subject, _NO_MEMBER)}"
        found[line] = nothing if value is ... else says(line.subject, value)
    return found


def succeeded(connection: Database) -> set[str]:
    """User ids of people who have an email by now: in the destination both are one user."""
    rows = _rows(
        connection,
        "SELECT value FROM identities WHERE type = 'user_id' AND EXISTS (SELECT FROM identities AS email"
        " WHERE email.profile_id = identities.profile_id AND email.type = 'email')",
    )
    return {row["value"] for row in rows}


def untrue(connection: Database, people: Iterable[Person], keys: Sequence[str]) -> list[str]:
    """Where snapshots differ from what the people's calls come to."""
    values: dict[str, dict[str, Any]] = {}
    for row in _rows(connection, _VALUES):
        values.setdefault(row["user_id"], {})[row["key"]] = row["value"]
    found = []
    for person in people:
        have, truth = values.get(person.user_id, {}), person.truth()
        for key in keys:
            # Who isn't in an audience is out of it or was never in.
            if (have.get(key) or None) != (truth.get(key) or None):
                found.append(f"{person.user_id}: {key} is {have.get(key)!r}, and should be {truth.get(key)!r}")
    return found


def _rows(connection: Database, statement: str) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement).fetchall()
