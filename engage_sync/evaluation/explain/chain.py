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
    """One definition, and the question about it: of everybody whose value matters to the definition that is asked for.

    These are more than one person where that one, or one in between, asks of accounts.
    """

    key: str
    definition_id: int
    is_audience: bool
    question: Question


def next_change_together(
    connection: Connection, links: Sequence[Link], *, events: int
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """As next_change() of the last of the links, each given after those that it refers to; and of each by itself.

    "because" names the others that change at that instant and make it change; none: it changes of its own. `events` is
    how many events they read.
    """
    asked = links[-1]
    said: dict[tuple[int, int], Any] = {}
    values = {link.key: _at(link, link.question.as_of, said).said(connection) for link in links}
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
                return found | {"at": None, "said": {}, "until": until, "is_complete": False}, alone
        if not coming or len(links) == 1:
            return found, alone
        instant = min(coming)
        because = _move(connection, links[:-1], instant, said, values)
        now = _at(asked, instant, said).said(connection)
        if now != values[asked.key]:
            because = [] if found["at"] == instant else because
            changed = _changed(values[asked.key], now)
            return found | {"at": instant, "said": changed, "because": because, "is_complete": True}, alone
    return found | {"at": None, "said": {}, "until": instant, "is_complete": False}, alone


def _move(
    connection: Connection,
    links: Sequence[Link],
    instant: datetime,
    said: dict[tuple[int, int], Any],
    values: dict[str, dict[int, Any]],
) -> list[str]:
    """Bring what is referred to up to an instant; the keys of those that changed."""
    moved = []
    for link in links:
        now = _at(link, instant, said).said(connection)
        changed = _changed(values[link.key], now)
        if changed:
            moved.append(link.key)
            values[link.key] = now
        for profile, value in changed.items():
            # Who left an audience is false there; only who never was in it is nothing.
            said[profile, link.definition_id] = False if link.is_audience and value is None else value
    return moved


def _changed(before: Mapping[int, Any], now: Mapping[int, Any]) -> dict[int, Any]:
    """What is now said of those of whom something else is said than before; None: nothing."""
    return {subject: now.get(subject) for subject in {**before, **now} if now.get(subject) != before.get(subject)}


def _at(link: Link, instant: datetime, said: Mapping[tuple[int, int], Any]) -> Question:
    return replace(link.question, as_of=instant, as_if=dict(said))
