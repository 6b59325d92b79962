"""Every read-only question, shared by the command line, the API and metrics: plain dicts, ready for JSON.

Instants are aware and in UTC. Nothing here writes, and nothing here decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from engage_sync.definitions.versions import StoredDefinition
from engage_sync.profiles import finding, suppression
from engage_sync.reports.past import first_change, history, history_of_person

__all__ = [
    "definitions",
    "first_change",
    "history",
    "history_of_person",
    "members",
    "profile",
    "rows_of",
    "runs",
    "summary",
    "waiting",
]

# Of somebody's accounts, the ones that were named last.
_ACCOUNTS_SHOWN = 100
# People in one page of a long list.
_PAGE = 10_000

_DEFINITIONS = text(
    """
    SELECT definitions.key, definitions.public_id AS id, definitions.kind, definition_versions.document,
           definitions.enabled, definitions.file, definitions.version, coalesce(computations.members, 0) AS members,
           computations.version IS NOT DISTINCT FROM definitions.version AS is_computed, computations.as_of,
           computations.error, computations.cost AS microseconds_a_person, latest.duration_ms AS last_run_ms,
           definitions.created_at, definitions.updated_at,
           CASE WHEN holds.run_id IS NOT NULL THEN jsonb_build_object(
             'status', holds.status, 'since', holds.held_at, 'because', held.note, 'run_id', held.id,
             'entered', held.entered, 'left', held.exited, 'changed', held.changed, 'messages', held.messages
           ) END AS held
    FROM definitions
    JOIN definition_versions ON definition_versions.definition_id = definitions.id
      AND definition_versions.version = definitions.version
    LEFT JOIN computations ON computations.definition_id = definitions.id
    LEFT JOIN holds ON holds.definition_id = definitions.id
    LEFT JOIN runs AS held ON held.id = holds.run_id
    LEFT JOIN LATERAL (
      -- Real time adds up a row a minute, which says nothing of one computation.
      SELECT duration_ms FROM runs
      WHERE runs.definition_id = definitions.id AND runs.minute IS NULL AND runs.finished_at IS NOT NULL
      ORDER BY runs.id DESC LIMIT 1
    ) AS latest ON true
    WHERE definitions.kind = :kind AND definitions.deleted_at IS NULL
    ORDER BY definitions.created_at DESC, definitions.id DESC
    """
)
_PEOPLE = """
    SELECT member.profile_id AS internal_id, coalesce(profiles.public_id, 'merged') AS profile_id, member.value,
           member.since,
           (SELECT value FROM identities WHERE identities.profile_id = member.profile_id AND type = 'user_id'
            ORDER BY id LIMIT 1) AS user_id,
           ARRAY(SELECT value FROM identities WHERE identities.profile_id = member.profile_id AND type = 'email'
                 ORDER BY id) AS emails,
           CASE WHEN :of_accounts THEN ARRAY(
             SELECT group_id FROM account_members JOIN accounts ON accounts.id = account_id
             WHERE account_members.profile_id = member.profile_id ORDER BY timestamp DESC, accounts.id
           ) END AS accounts
    FROM ({members}) AS member LEFT JOIN profiles ON profiles.id = member.profile_id
    ORDER BY member.profile_id
"""
_NOW_MEMBERS = """
    SELECT profile_id, value, since FROM snapshots
    WHERE definition_id = :definition AND profile_id > :last AND (:is_trait OR value = 'true')
    ORDER BY profile_id LIMIT :limit
"""
_PAST_MEMBERS = """
    SELECT profile_id, after AS value, as_of AS since FROM (
      SELECT DISTINCT ON (profile_id) profile_id, after, as_of FROM changes
      WHERE definition_id = :definition AND as_of <= :as_of AND profile_id > :last
      ORDER BY profile_id, as_of DESC, recorded_at DESC
    ) AS latest
    WHERE after IS NOT NULL AND (:is_trait OR after = 'true')
    ORDER BY profile_id LIMIT :limit
"""
_MEMBERS = text(_PEOPLE.replace("{members}", _NOW_MEMBERS))
_MEMBERS_AS_OF = text(_PEOPLE.replace("{members}", _PAST_MEMBERS))
_COUNT = text("SELECT count(*) FROM snapshots WHERE definition_id = :definition AND (:is_trait OR value = 'true')")
_COUNT_AS_OF = text(
    """
    SELECT count(*) FROM (
      SELECT DISTINCT ON (profile_id) after FROM changes WHERE definition_id = :definition AND as_of <= :as_of
      ORDER BY profile_id, as_of DESC, recorded_at DESC
    ) AS latest WHERE after IS NOT NULL AND (:is_trait OR after = 'true')
    """
)
_COMPUTED_AS_OF = text("SELECT as_of FROM computations WHERE definition_id = :definition")
_IDENTITIES = text(
    """
    SELECT identities.type, identities.value, sources.slug AS source, identities.created_at
    FROM identities LEFT JOIN sources ON sources.id = identities.source_id
    WHERE profile_id = :profile ORDER BY identities.id
    """
)
_TRAITS = text("SELECT name, value, timestamp FROM traits WHERE profile_id = :profile ORDER BY name")
_ACCOUNTS = text(
    """
    SELECT accounts.group_id, account_members.timestamp,
           coalesce((SELECT jsonb_object_agg(name, value) FROM account_traits WHERE account_id = accounts.id), '{}')
             AS traits
    FROM account_members JOIN accounts ON accounts.id = account_members.account_id
    WHERE account_members.profile_id = :profile ORDER BY account_members.timestamp DESC, accounts.id LIMIT :limit
    """
)
_STATES = text(
    """
    SELECT definitions.key, definitions.kind, snapshots.value, snapshots.since
    FROM snapshots JOIN definitions ON definitions.id = snapshots.definition_id
    WHERE snapshots.profile_id = :profile AND definitions.deleted_at IS NULL ORDER BY definitions.key
    """
)
_EVENTS = text(
    """
    SELECT events.name AS event, events.type, events.timestamp, sources.slug AS source, message_id, properties
    FROM events LEFT JOIN sources ON sources.id = events.source_id
    WHERE profile_id = :profile ORDER BY timestamp DESC, events.id DESC LIMIT :limit
    """
)
_TOLD = text(
    """
    SELECT destinations.slug AS destination, definitions.key, told.identity_type, told.identity_value, told.call_type,
           told.confirmed, told.enqueued
    FROM told JOIN definitions ON definitions.id = told.definition_id
    JOIN destinations ON destinations.id = told.destination_id
    WHERE told.profile_id = :profile
    ORDER BY destinations.slug, told.identity_value, definitions.key, told.call_type
    """
)
# What no definition made: waiting, taken, or refused.
_FORWARDED = text(
    """
    SELECT destinations.slug AS destination, sources.slug AS source, found.call_type, found.value AS name,
           found.identity_type, found.identity_value, found.status, found.as_of AS timestamp, found.at, found.reason
    FROM (
      (SELECT id, destination_id, source_id, call_type, value, identity_type, identity_value, 'waiting' AS status,
              as_of, enqueued_at AS at, last_error AS reason
       FROM messages WHERE profile_id = :profile AND definition_id IS NULL ORDER BY id DESC LIMIT :limit)
      UNION ALL
      (SELECT id, destination_id, source_id, call_type, value, identity_type, identity_value, 'delivered', as_of,
              delivered_at, NULL
       FROM delivered WHERE profile_id = :profile AND definition_id IS NULL ORDER BY id DESC LIMIT :limit)
      UNION ALL
      (SELECT message_id, destination_id, source_id, call_type, value, identity_type, identity_value, status, as_of,
              failed_at, reason
       FROM dead_letters WHERE profile_id = :profile AND definition_id IS NULL ORDER BY message_id DESC LIMIT :limit)
    ) AS found
    JOIN destinations ON destinations.id = found.destination_id
    LEFT JOIN sources ON sources.id = found.source_id
    ORDER BY found.id DESC LIMIT :limit
    """
)
_RUNS = text(
    """
    SELECT runs.id AS run_id, definitions.key, runs.cause, runs.scope, runs.status, runs.as_of, runs.started_at,
           runs.finished_at, runs.evaluated, runs.entered, runs.exited AS "left", runs.changed, runs.messages,
           runs.duration_ms, runs.error, runs.note
    FROM runs JOIN definitions ON definitions.id = runs.definition_id
    WHERE CAST(:key AS text) IS NULL OR definitions.key = :key
    ORDER BY runs.id DESC LIMIT CAST(:limit AS bigint)
    """
)
_WAITING = text(
    """
    SELECT definitions.key, count(*) AS messages
    FROM messages JOIN definitions ON definitions.id = messages.definition_id
    GROUP BY definitions.key
    """
)
_SUMMARY = text(
    """
    SELECT (SELECT count(*) FROM profiles) AS profiles,
           (SELECT count(*) FROM (SELECT FROM inbox LIMIT 100000) AS few) AS inbox,
           (SELECT count(*) FROM (SELECT FROM messages LIMIT 100000) AS few) AS outbox,
           (SELECT count(*) FROM dead_letters WHERE status = 'open') AS dead_letters
    """
)


def definitions(connection: Connection, kind: str) -> list[dict[str, Any]]:
    """All audiences or computed traits (`kind`), newest first, with what their last computation said and took.

    "microseconds_a_person" is what evaluating one person takes, as it was learnt (None: not known yet). "held" is what
    a guard holds, with its counts and the reason (None: nothing).
    """
    found = []
    for row in connection.execute(_DEFINITIONS, {"kind": kind}):
        item = dict(row._mapping)
        document = item.pop("document")
        found.append({**item, "name": document.get("name"), "query": document.get("query")})
    return found


def members(
    connection: Connection, definition: StoredDefinition, *, as_of: datetime | None = None, limit: int | None = None
) -> dict[str, Any]:
    """Who is in, or has a value: `{"key", "as_of", "total", "members": […]}`, as the snapshot or the ledger says.

    Of a definition of accounts, each has the groupIds of their `accounts`, as they are now, the one named last first.
    """
    is_trait = definition.kind != "audience"
    given = {
        "definition": definition.id,
        "is_trait": is_trait,
        "as_of": as_of,
        "of_accounts": definition.spec.of_accounts,
    }
    count = _COUNT if as_of is None else _COUNT_AS_OF
    computed = connection.execute(_COMPUTED_AS_OF, {"definition": definition.id}).scalar()
    return {
        "key": definition.key,
        "as_of": as_of or computed,
        "total": connection.execute(count, given).scalar_one(),
        "members": list(_people(connection, given, is_trait=is_trait, limit=limit)),
    }


def profile(connection: Connection, identifier: str, *, events: int = 50) -> dict[str, Any]:
    """One profile by `user_id:u1`, `email:a@x.io`, `anonymous_id:…` or its public id: all that is known.

    Raises errors.NotFound, errors.UsageError for an identifier without a type.
    """
    found = finding.find(connection, identifier)
    given = {"profile": found.id}
    states = [dict(row._mapping) for row in connection.execute(_STATES, given)]
    return {
        "profile_id": found.public_id,
        "created_at": found.created_at,
        "is_known": found.is_known,
        "is_suppressed": suppression.is_marked(connection, found.id),
        "identities": [dict(row._mapping) for row in connection.execute(_IDENTITIES, given)],
        "traits": {row.name: row.value for row in connection.execute(_TRAITS, given)},
        "accounts": [dict(row._mapping) for row in connection.execute(_ACCOUNTS, {**given, "limit": _ACCOUNTS_SHOWN})],
        "audiences": [
            {"key": each["key"], "member": each["value"], "since": each["since"]}
            for each in states
            if each["kind"] == "audience"
        ],
        "computed_traits": [
            {"key": each["key"], "value": each["value"], "since": each["since"]}
            for each in states
            if each["kind"] != "audience"
        ],
        "told": [dict(row._mapping) for row in connection.execute(_TOLD, given)],
        "forwarded": [
            {**row._mapping, "status": "dead letter" if row.status == "open" else row.status}
            for row in connection.execute(_FORWARDED, {**given, "limit": events})
        ],
        "events": [dict(row._mapping) for row in connection.execute(_EVENTS, {**given, "limit": events})],
    }


def runs(connection: Connection, *, key: str | None = None, limit: int | None = None) -> list[dict[str, Any]]:
    """Computations, newest first. Of a held one the counts are those of what it would do, its `note` says why."""
    return [dict(row._mapping) for row in connection.execute(_RUNS, {"key": key, "limit": limit})]


def summary(connection: Connection) -> dict[str, int]:
    """A few sizes: profiles, calls and messages that wait (up to 100,000), dead letters."""
    return dict(connection.execute(_SUMMARY).one()._mapping)


def waiting(connection: Connection) -> dict[str, int]:
    """How many messages wait in the outbox, by the keys of their definitions."""
    return {row.key: row.messages for row in connection.execute(_WAITING)}


def _people(
    connection: Connection, given: dict[str, Any], *, is_trait: bool, limit: int | None
) -> Iterator[dict[str, Any]]:
    """Page by page, by the internal id, which is never shown."""
    statement = _MEMBERS if given["as_of"] is None else _MEMBERS_AS_OF
    last, left = 0, limit
    while left is None or left > 0:
        size = _PAGE if left is None else min(_PAGE, left)
        rows = connection.execute(statement, {**given, "last": last, "limit": size}).all()
        yield from (_person(row, is_trait) for row in rows)
        if len(rows) < size:
            return
        last = rows[-1].internal_id
        left = None if left is None else left - len(rows)


def _person(row: Any, is_trait: bool) -> dict[str, Any]:
    person = {"profile_id": row.profile_id, "user_id": row.user_id, "emails": list(row.emails), "since": row.since}
    if row.accounts is not None:
        person["accounts"] = list(row.accounts)
    return {**person, "value": row.value} if is_trait else person


def rows_of(items: Sequence[dict[str, Any]], columns: Sequence[str]) -> list[list[Any]]:
    """The named columns of a list of dicts, for a table."""
    return [[item.get(column) for column in columns] for item in items]
