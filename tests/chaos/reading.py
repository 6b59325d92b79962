"""The two histories: what a sandbox's record says that it did, and what the tables say that it was told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import orjson
import psycopg
from psycopg.rows import dict_row

from engage_sync.messages import ids
from tests.chaos.check import Entry, Line, Word
from tests.chaos.people import WEB, Person

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


@dataclass(slots=True)
class Record:
    """What a sandbox did, in the order of doing it; what it refused for good; how many requests met which fault."""

    done: list[Word] = field(default_factory=list)
    refused: set[Word] = field(default_factory=set)
    requests: int = 0
    faults: dict[str, int] = field(default_factory=dict)


def record(slug: str, url: str) -> Record:
    """What one sandbox was asked."""
    found = Record()
    answered = httpx.get(f"{url}/sandbox/requests", params={"limit": 10_000_000}, timeout=60.0)
    requests = orjson.loads(answered.content)["requests"]
    found.requests = len(requests)
    for request in requests:
        if request["fault"]:
            name = f"{request['fault']} {request['status']}" if request["fault"] == "status" else request["fault"]
            found.faults[name] = found.faults.get(name, 0) + 1
        # Of several in one request nobody knows which was meant: each is sent again, by itself in the end.
        if request["status"] == 409 and len(words := list(_words(slug, request))) == 1:
            found.refused.update(words)
    for request in sorted((each for each in requests if each["acted"]), key=lambda each: each["turn"]):
        found.done.extend(_words(slug, request))
    return found


def _words(slug: str, request: Mapping[str, Any]) -> Iterator[Word]:
    body = request["body"]
    for part in body.get("users") or body.get("events") or [body]:
        identity, says, subject, id_ = _meaning(part)
        yield Word(Line(slug, identity, subject), says, id_, request["unix"])


def _meaning(part: Mapping[str, Any]) -> tuple[str, str, str, str | None]:
    """Whom a request's part is about, what it says, by which definition or source, under which id."""
    who = part.get("user", part)
    identity = who.get("email") or who["userId"]
    fields = part.get("dataFields") or {}
    if "items" in part:
        return identity, "purchase", WEB, part["id"]
    if "eventName" in part:
        subject = fields.get("audience_key") or fields.get("trait_key") or WEB
        return identity, part["eventName"], subject, part["id"]
    if "seq" in fields:
        return identity, "identify", WEB, str(fields["seq"])
    said = {key: value for key, value in fields.items() if key != "email"}
    if not said or "plan" in said:
        # A call that was replayed leaves out what something newer was said of since.
        return identity, f"rest of an identify: {said}", WEB, "-"
    ((key, value),) = said.items()
    return identity, _says(key, value), key, None


def ledger(connection: psycopg.Connection[Any], people: Iterable[Person], destinations: Iterable[str]) -> list[Entry]:
    """What definitions said, as the tables have it; and the calls of sources as they were accepted."""
    token = connection.execute("SELECT token FROM installation").fetchone()[0]  # type: ignore[index]
    entries = [_entry(row, token) for row in _rows(connection, _ENDED)]
    dead = {(row["slug"], row["message_id"]) for row in _rows(connection, _DEAD_CALLS)}
    for person in people:
        for call in person.accepted:
            if (heard := call.passed_on) is None:
                continue
            message = call.body["messageId"]
            for slug in destinations:
                id_ = heard.id
                if heard.is_forwarded_id:
                    id_ = ids.forwarded_id(installation=token, destination=slug, source=WEB, message_id=message)
                word = Word(Line(slug, heard.identity, WEB), heard.says, id_)
                entries.append(Entry(word, is_dead=(slug, message) in dead))
    return entries


def _entry(row: Mapping[str, Any], token: Any) -> Entry:
    line = Line(row["slug"], row["identity_value"], row["key"])
    if row["call_type"] == "identify":
        return Entry(Word(line, _says(row["key"], row["value"]), None, row["at"]), row["is_dead"])
    if row["kind"] == "audience":
        event = "Audience Entered" if row["value"] is True else "Audience Exited"
    else:
        event = "Trait Computed"
    id_ = ids.message_id(
        installation=token,
        destination=row["slug"],
        definition=row["public_id"],
        identity_type=row["identity_type"],
        identity_value=row["identity_value"],
        call_type=row["call_type"],
        told_version=row["told_version"],
    )
    return Entry(Word(line, event, id_, row["at"]), row["is_dead"])


def held(done: Sequence[Word]) -> dict[Line, str]:
    """What the destination holds in the end."""
    return {word.line: word.says for word in done if word.id is None}


def confirmed(connection: psycopg.Connection[Any]) -> dict[Line, str]:
    """What counts as told."""
    return {
        Line(row["slug"], row["identity_value"], row["key"]): _says(row["key"], row["confirmed"])
        for row in _rows(connection, _TOLD)
    }


def wanted(connection: psycopg.Connection[Any], destinations: Iterable[str], known: Iterable[Line]) -> dict[Line, str]:
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
        found[line] = nothing if value is ... else _says(line.subject, value)
    return found


def succeeded(connection: psycopg.Connection[Any]) -> set[str]:
    """User ids of people who have an email by now: in the destination both are one user."""
    rows = _rows(
        connection,
        "SELECT value FROM identities WHERE type = 'user_id' AND EXISTS (SELECT FROM identities AS email"
        " WHERE email.profile_id = identities.profile_id AND email.type = 'email')",
    )
    return {row["value"] for row in rows}


def untrue(connection: psycopg.Connection[Any], people: Iterable[Person], keys: Sequence[str]) -> list[str]:
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


def _says(key: str, value: Any) -> str:
    return f"{key} = {orjson.dumps(value).decode()}"


def _rows(connection: psycopg.Connection[Any], statement: str) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement).fetchall()  # type: ignore[arg-type]
