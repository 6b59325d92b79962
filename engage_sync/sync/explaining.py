"""Why a definition says what it says of one person: all of it as one moment of the database shows it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, text

from engage_sync import errors
from engage_sync.definitions import versions
from engage_sync.definitions.language import tree
from engage_sync.definitions.language.walk import event_names, references
from engage_sync.definitions.versions import StoredDefinition
from engage_sync.evaluation.explain import Link, Question, explain_expressions, next_change_together
from engage_sync.profiles import finding
from engage_sync.profiles.finding import Found
from engage_sync.snapshots import states
from engage_sync.snapshots.states import State
from engage_sync.sync.catalog import Catalog

_IDENTITIES = text("SELECT type, value FROM identities WHERE profile_id = :profile ORDER BY id")
_SNAPSHOT = text("SELECT value, since FROM snapshots WHERE profile_id = :profile AND definition_id = :definition")
_EVENTS = text("SELECT count(*) FROM events WHERE profile_id = :profile AND name = ANY(CAST(:names AS text[]))")
# What the ledger said at an instant: its last change up to then.
_LEDGER = text(
    """
    SELECT after AS value, as_of AS since FROM changes
    WHERE profile_id = :profile AND definition_id = :definition AND as_of <= :as_of
    ORDER BY as_of DESC, recorded_at DESC LIMIT 1
    """
)
_TOLD = text(
    """
    SELECT destinations.slug AS destination, told.identity_type, told.identity_value, told.call_type, told.confirmed,
           told.enqueued, told.is_unknown
    FROM told JOIN destinations ON destinations.id = told.destination_id
    WHERE told.profile_id = :profile AND told.definition_id = :definition
    ORDER BY destinations.slug, told.identity_value, told.call_type
    """
)
_FIRST_COMPUTED = text("SELECT min(as_of) FROM runs WHERE definition_id = :definition AND status = 'done'")
# Touches that the definition's next computation will read. It may find that nothing of it concerns the definition.
_UNREAD = text(
    """
    SELECT count(*) FROM touches
    WHERE profile_id = :profile AND xid >= pg_snapshot_xmin(CAST(:seen AS pg_snapshot))
      AND NOT pg_visible_in_snapshot(xid, CAST(:seen AS pg_snapshot))
      AND reasons && CAST(:reasons AS text[])
    """
)

# Of one person, a join by the profile joins everything with everything: what follows an event is found by the index.
_ONE_PERSON = text("SELECT set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)")


def explain(
    engine: Engine, key: str, identifier: str, *, as_of: datetime | None = None, events: int = 10
) -> dict[str, Any]:
    """What a definition says of a person at an instant (None: now), why, and when that changes by itself.

    Raises errors.NotFound with the nearest known key, or for an unknown person; errors.UsageError for an identifier
    without a type.
    """
    with _one_moment(engine) as connection:
        definition = versions.find(connection, key)
        person = finding.find(connection, identifier)
        catalog = Catalog.load(connection)
        state = states.load(connection, [definition.id])[definition.id]
        instant = as_of or states.instant(connection, state.as_of)
        question = _question(definition, catalog, person, instant, events)
        links = _links(catalog, definition, question)
        _refuse_accounts(definition, links)
        value = _value(connection, question, definition)
        return {
            **_about(connection, definition, person, instant),
            "value": value,
            "counts_person": person.is_known or definition.spec.include_anonymous,
            "expression": explain_expressions(connection, question),
            **_next_changes(connection, links),
            "snapshot": _snapshot(connection, catalog, definition, person, state, as_of, value),
            "told": [dict(row._mapping) for row in connection.execute(_TOLD, _ids(definition, person))],
        }


def _refuse_accounts(definition: StoredDefinition, links: Sequence[Link]) -> None:
    asking = [link.key for link in links if isinstance(link.question.definition, tree.OfAccounts)]
    if asking:
        refers = "" if asking[0] == definition.key else f"{definition.key} refers to {asking[0]}. "
        raise errors.UsageError(
            f"{refers}{asking[0]} asks of accounts (type: ACCOUNTS); explain explains only what is asked of one person."
            " See what each of its conditions leaves over with: engage-sync preview " + asking[0]
        )


@contextmanager
def _one_moment(engine: Engine) -> Iterator[Connection]:
    """A transaction that sees one state of the database throughout, and writes nothing."""
    with (
        engine.connect().execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True) as connection,
        connection.begin(),
    ):
        connection.execute(_ONE_PERSON)
        yield connection


def _question(definition: StoredDefinition, catalog: Catalog, person: Found, as_of: datetime, events: int) -> Question:
    return Question(
        definition=definition.spec.tree,
        include_anonymous=definition.spec.include_anonymous,
        since=definition.since,
        catalog=catalog.ids,
        profile=person.id,
        as_of=as_of,
        events=events,
    )


def _about(connection: Connection, definition: StoredDefinition, person: Found, as_of: datetime) -> dict[str, Any]:
    identities = connection.execute(_IDENTITIES, {"profile": person.id})
    return {
        "key": definition.key,
        "kind": definition.kind,
        "name": definition.spec.name,
        "query": definition.spec.query,
        "as_of": as_of,
        "enabled": definition.enabled,
        "include_anonymous": definition.spec.include_anonymous,
        "events_since": definition.since,
        "profile": {
            "profile_id": person.public_id,
            "is_known": person.is_known,
            "identities": [dict(row._mapping) for row in identities],
        },
    }


def _value(connection: Connection, question: Question, definition: StoredDefinition) -> Any:
    evaluation = question.evaluation(definition.spec.tree, include_anonymous=definition.spec.include_anonymous)
    rows = connection.exec_driver_sql(evaluation.sql, evaluation.arguments(question.as_of, [question.profile]))
    row = rows.one_or_none()
    return _said(definition, None if row is None else row[1])


def _said(definition: StoredDefinition, value: Any) -> Any:
    """An audience has no third answer beside member and no member."""
    return value if definition.kind != "audience" else value is True


def _next_changes(connection: Connection, links: Sequence[Link]) -> dict[str, Any]:
    """When the definition changes by itself, and when what it refers to does."""
    names = sorted({name for link in links for name in event_names(link.question.definition)})
    given = {"profile": links[-1].question.profile, "names": names}
    events = connection.execute(_EVENTS, given).scalar_one()
    found, alone = next_change_together(connection, links, events=events)
    return {
        "next_change": _as_said(links[-1], found),
        "referenced": [
            {
                "key": link.key,
                "kind": "audience" if link.is_audience else "computed_trait",
                "next_change": _as_said(link, alone[link.key]),
            }
            for link in links[:-1]
        ],
    }


def _as_said(link: Link, change: dict[str, Any]) -> dict[str, Any]:
    """Of an audience true or false; null where nothing changes."""
    if change["at"] is None or not link.is_audience:
        return change
    return {**change, "value": change["value"] is True}


def _links(catalog: Catalog, definition: StoredDefinition, question: Question) -> list[Link]:
    """What a definition refers to, and what that refers to, each after its own references; then the definition."""
    by_key = {each.key: each for each in catalog.definitions}
    wanted: set[str] = set()
    waiting = sorted(references(definition.spec.tree) & by_key.keys())
    while waiting:
        key = waiting.pop()
        if key not in wanted:
            wanted.add(key)
            waiting += references(by_key[key].spec.tree) & by_key.keys()
    return [
        Link(
            key=each.key,
            definition_id=each.id,
            is_audience=each.kind == "audience",
            question=replace(
                question,
                definition=each.spec.tree,
                include_anonymous=each.spec.include_anonymous,
                since=each.since,
            ),
        )
        for each in (*(each for each in catalog.definitions if each.key in wanted), definition)
    ]


def _snapshot(
    connection: Connection,
    catalog: Catalog,
    definition: StoredDefinition,
    person: Found,
    state: State,
    then: datetime | None,
    value: Any,
) -> dict[str, Any]:
    """What was computed last, or with `then` what the ledger said at that instant; and why `value` may differ."""
    given = {**_ids(definition, person), "as_of": then}
    row = connection.execute(_SNAPSHOT if then is None else _LEDGER, given).one_or_none()
    said = _said(definition, None if row is None else row.value)
    differs = [] if said == value else list(_lags(connection, catalog, definition, person, state, then))
    return {
        "value": said,
        "since": None if row is None else row.since,
        "is_computed": state.version is not None,
        "computed_as_of": state.as_of,
        "differs_because": differs,
    }


def _lags(
    connection: Connection,
    catalog: Catalog,
    definition: StoredDefinition,
    person: Found,
    state: State,
    then: datetime | None,
) -> Iterator[str]:
    """Why a snapshot isn't what an evaluation says now, in sentences."""
    if not definition.enabled:
        yield "the definition is disabled, and not computed"
    if state.error is not None:
        yield f"its last computation failed: {state.error}"
    if state.version is None:
        yield "it was never computed"
    elif state.version != definition.version:
        yield f"version {definition.version} is not computed yet; the snapshot is that of version {state.version}"
    lookback = versions.lookback_keys([each.spec for each in catalog.definitions])
    next_time = "at once while `up` runs" if versions.is_realtime(definition.spec, lookback) else "on the next tick"
    if state.touches_seen is not None:
        reasons = sorted(catalog.reasons.get(definition.id, frozenset()))
        given = {**_ids(definition, person), "seen": state.touches_seen, "reasons": reasons}
        if connection.execute(_UNREAD, given).scalar_one():
            yield f"something about this person has changed since, and is computed {next_time}"
    if then is not None:
        first = connection.execute(_FIRST_COMPUTED, _ids(definition, person)).scalar()
        if first is not None and first > then:
            yield f"it was first computed as of {first.isoformat(timespec='seconds')}, after that instant"
        yield "traits, references and late events count as they are now, not as they were known at that instant"
    if state.as_of is not None and then is None:
        yield f"time has gone by since it was computed; it is computed again {next_time}"


def _ids(definition: StoredDefinition, person: Found) -> dict[str, int]:
    return {"definition": definition.id, "profile": person.id}
