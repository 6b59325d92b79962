"""The next change by time alone of a definition that refers to others: they change, too, and it with them.

What is referred to is taken along from instant to instant, and has its new value at once, as if computed then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from engage_sync.evaluation.explain.question import Question
from engage_sync.evaluation.explain.turning import next_change

# Instants at which something that is referred to changes; few where each takes long to find.
_STEPS = 40
_EVENTS_READ = 200_000
_FEWEST_STEPS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """One definition, and the question about it."""

    key: str
    definition_id: int
    is_audience: bool
    question: Question


def next_change_together(
    connection: Connection, links: Sequence[Link], *, events: int
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """As next_change() of the last of the links, each given after those that it refers to; and of each by itself.

    "because" names the others that change at that instant and make it change; none: it changes of its own. `events` is
    how many events of the person they read.
    """
    asked = links[-1]
    said: dict[int, Any] = {}
    values = {link.key: _value(connection, link, link.question.as_of, said) for link in links}
    instant, looked_at = asked.question.as_of, 0
    found: dict[str, Any] = {}
    alone: dict[str, dict[str, Any]] = {}
    for _ in range(max(_FEWEST_STEPS, min(_STEPS, _EVENTS_READ // max(1, events)))):
        changes = {link.key: next_change(connection, _at(link, instant, said)) for link in links}
        alone = alone or changes
        found = changes[asked.key]
        looked_at += sum(change["instants"] for change in changes.values())
        found = found | {"because": [], "instants": looked_at}
        coming = [change["at"] for change in changes.values() if change["at"] is not None]
        if not all(change["is_complete"] for change in changes.values()):
            until = min(change["until"] for change in changes.values())
            if not coming or min(coming) > until:
                return found | {"at": None, "value": None, "until": until, "is_complete": False}, alone
        if not coming or len(links) == 1:
            return found, alone
        instant = min(coming)
        because = _move(connection, links[:-1], instant, said, values)
        value = _value(connection, asked, instant, said)
        if value != values[asked.key]:
            of_its_own = found["at"] == instant
            because = [] if of_its_own else because
            return found | {"at": instant, "value": value, "because": because, "is_complete": True}, alone
    return found | {"at": None, "value": None, "until": instant, "is_complete": False}, alone


def _move(
    connection: Connection, links: Sequence[Link], instant: datetime, said: dict[int, Any], values: dict[str, Any]
) -> list[str]:
    """Bring what is referred to up to an instant; the keys of those that changed."""
    changed = []
    for link in links:
        value = _value(connection, link, instant, said)
        if value != values[link.key]:
            changed.append(link.key)
            values[link.key] = value
            # Who left an audience is false there; only who never was in it is nothing.
            said[link.definition_id] = False if link.is_audience and value is None else value
    return changed


def _at(link: Link, instant: datetime, said: Mapping[int, Any]) -> Question:
    return replace(link.question, as_of=instant, as_if=dict(said))


def _value(connection: Connection, link: Link, instant: datetime, said: Mapping[int, Any]) -> Any:
    question = _at(link, instant, said)
    evaluation = question.evaluation(question.definition, include_anonymous=question.include_anonymous)
    rows = connection.exec_driver_sql(evaluation.sql, evaluation.arguments(instant, [question.profile]))
    row = rows.one_or_none()
    return None if row is None else row[1]
