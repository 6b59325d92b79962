"""When a definition changes by itself, and when what it refers to does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, text

from engage_sync.definitions.language import tree
from engage_sync.definitions.language.walk import event_names, references
from engage_sync.definitions.versions import StoredDefinition
from engage_sync.evaluation.explain import Link, Question, Who, next_change_together, users_of
from engage_sync.sync.catalog import Catalog
from engage_sync.sync.explaining.subject import Asked

_EVENTS = text(
    """
    SELECT count(*) FROM events
    WHERE profile_id = ANY(CAST(:people AS bigint[])) AND name = ANY(CAST(:names AS text[]))
    """
)
# Of those who change together, so many are named.
_NAMED = 5


def links(connection: Connection, catalog: Catalog, asked: Asked, events: int) -> list[Link]:
    """What a definition refers to, and what that refers to, each after its own references; then the definition.

    Each is asked of whose value matters: of a definition that accounts' ANY or ALL refers to, these are all their
    users. SQL traits are left out: their values stand until they are read again.
    """
    people = {asked.definition.key: {asked.person.id}}
    chosen = [asked.definition]
    known = [each for each in catalog.definitions if each.key != asked.definition.key]
    for each in [asked.definition, *reversed(known)]:
        if each.key in people:
            if each is not asked.definition:
                chosen.append(each)
            for key in references(each.spec.tree):
                people.setdefault(key, set()).update(_matter_to(connection, each, people[each.key]))
    return [
        Link(
            key=each.key,
            definition_id=each.id,
            is_audience=each.kind == "audience",
            question=Question(
                definition=each.spec.tree,
                include_anonymous=each.spec.include_anonymous,
                since=each.since,
                catalog=catalog.ids,
                people=tuple(sorted(people[each.key])),
                as_of=asked.as_of,
                events=events,
                first=asked.person.id,
            ),
        )
        for each in reversed(chosen)
        if not isinstance(each.spec.tree, tree.SqlRows)
    ]


def events_read(connection: Connection, links: Sequence[Link]) -> int:
    """How many events of all those people the definitions look at."""
    people = {profile for link in links for profile in link.question.people}
    for link in links:
        if isinstance(link.question.definition, tree.OfAccounts):
            people.update(link.question.of_their_accounts(connection).people)
    names = sorted({name for link in links for name in event_names(link.question.definition)})
    return int(connection.execute(_EVENTS, {"people": sorted(people), "names": names}).scalar_one())


def next_changes(
    connection: Connection, catalog: Catalog, links: Sequence[Link], asked: Asked, *, events: int
) -> dict[str, Any]:
    """The "next_change" of the last of the links for the person; "referenced" has those of the others, by themselves.

    "of" there are those whose value changes then.
    """
    found, alone = next_change_together(connection, links, events=events)
    who = Who(connection)
    return {
        "next_change": _said(links[-1], found, asked.person.id),
        "referenced": [
            *(_referenced(link, alone[link.key], who, asked) for link in links[:-1]),
            *(_read(each) for each in _by_sql(catalog, links)),
        ],
    }


def _matter_to(connection: Connection, definition: StoredDefinition, people: set[int]) -> set[int]:
    """Whose values a definition looks at, to say something of these people."""
    if not definition.spec.of_accounts:
        return people
    users = users_of(connection, sorted(people), include_anonymous=definition.spec.include_anonymous)
    return {profile for found in users.values() for profile in found}


def _by_sql(catalog: Catalog, links: Sequence[Link]) -> list[StoredDefinition]:
    used = {key for link in links for key in references(link.question.definition)}
    return [each for each in catalog.definitions if each.key in used and isinstance(each.spec.tree, tree.SqlRows)]


def _referenced(link: Link, change: dict[str, Any], who: Who, asked: Asked) -> dict[str, Any]:
    changing = sorted(change["said"], key=lambda profile: (profile != asked.person.id, profile))[:_NAMED]
    who.load(changing)
    return {
        "key": link.key,
        "kind": "audience" if link.is_audience else "computed_trait",
        "by_sql": False,
        "next_change": _said(link, change, changing[0] if changing else asked.person.id),
        "of": [
            {"user": who.is_called(profile), "value": _value(link, change["said"][profile])} for profile in changing
        ],
    }


def _read(definition: StoredDefinition) -> dict[str, Any]:
    return {"key": definition.key, "kind": definition.kind, "by_sql": True, "next_change": None, "of": []}


def _said(link: Link, change: Mapping[str, Any], profile: int) -> dict[str, Any]:
    """Of an audience true or false; null where nothing changes."""
    made = {name: value for name, value in change.items() if name != "said"}
    return made | {"value": None if change["at"] is None else _value(link, change["said"].get(profile))}


def _value(link: Link, value: Any) -> Any:
    return value is True if link.is_audience else value
