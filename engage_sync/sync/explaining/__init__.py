"""Why a definition says what it says of one person: all of it as one moment of the database shows it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, text

from engage_sync.definitions import versions
from engage_sync.definitions.language import tree
from engage_sync.definitions.versions import StoredDefinition
from engage_sync.evaluation.explain import explain_accounts, explain_expressions
from engage_sync.profiles import finding
from engage_sync.snapshots import states
from engage_sync.sync.catalog import Catalog
from engage_sync.sync.explaining import changes, reading, subject
from engage_sync.sync.explaining.recorded import snapshot
from engage_sync.sync.explaining.subject import Asked

# Of one person, a join by the profile joins everything with everything: what follows an event is found by the index.
_ONE_PERSON = text("SELECT set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)")


def explain(
    engine: Engine, key: str, identifier: str, *, as_of: datetime | None = None, events: int = 10
) -> dict[str, Any]:
    """What a definition says of a person at an instant (None: now), why, and when that changes by itself.

    Of a definition of accounts, "accounts" has the expressions of each of the person's accounts; of an SQL trait,
    "reading" has its last row; of all others, "expression" has what they are made of. Raises errors.NotFound with the
    nearest known key, or for an unknown person; errors.UsageError for an identifier without a type.
    """
    with _one_moment(engine) as connection:
        definition = versions.find(connection, key)
        state = states.load(connection, [definition.id])[definition.id]
        asked = Asked(
            definition=definition,
            person=finding.find(connection, identifier),
            state=state,
            as_of=as_of or states.instant(connection, state.as_of),
            is_past=as_of is not None,
        )
        found = subject.about(connection, asked)
        if isinstance(definition.spec.tree, tree.SqlRows):
            found |= reading.explain(connection, asked, definition.spec.tree)
        else:
            found |= _evaluated(connection, asked, events)
        return {**found, "told": subject.told(connection, asked)}


def _evaluated(connection: Connection, asked: Asked, events: int) -> dict[str, Any]:
    catalog = Catalog.load(connection)
    links = changes.links(connection, catalog, asked, events)
    value = said(asked.definition, links[-1].question.said(connection).get(asked.person.id))
    read = changes.events_read(connection, links)
    of_accounts = isinstance(asked.definition.spec.tree, tree.OfAccounts)
    return {
        "value": value,
        "expression": None if of_accounts else explain_expressions(connection, links[-1].question),
        "accounts": explain_accounts(connection, links, counts=asked.counts, events=read) if of_accounts else None,
        "reading": None,
        **changes.next_changes(connection, catalog, links, asked, events=read),
        "snapshot": snapshot(connection, catalog, asked, value, links[-1].question),
    }


@contextmanager
def _one_moment(engine: Engine) -> Iterator[Connection]:
    """A transaction that sees one state of the database throughout, and writes nothing."""
    with (
        engine.connect().execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True) as connection,
        connection.begin(),
    ):
        connection.execute(_ONE_PERSON)
        yield connection


def said(definition: StoredDefinition, value: Any) -> Any:
    """An audience has no third answer beside member and no member."""
    return value if definition.kind != "audience" else value is True
