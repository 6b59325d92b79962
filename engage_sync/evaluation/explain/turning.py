"""The first instant at which time alone changes what a definition says of one person.

Exact: the definition is evaluated at the instants at which something of this person crosses an edge, in order, until
one says something else. Traits, and what other definitions say, count as they stand.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from engage_sync.evaluation import dates
from engage_sync.evaluation.compiler import compile_first_change, compile_turns
from engage_sync.evaluation.explain.question import Question

_HORIZON = timedelta(days=3652)
# At most so many instants are looked at.
INSTANTS = 2_000
# How many instants are looked at in one statement: few at first, as the first edge often is the one.
_FIRST_BATCH = 4
_GROWTH = 4


def next_change(connection: Connection, question: Question) -> dict[str, Any]:
    """`{"at", "value", "instants", "until", "is_complete"}`: `at` None where nothing changes until `until`.

    `value` is what it becomes, None for no value. Not complete: there are more instants than were looked at.
    """
    until = question.as_of + _HORIZON
    instants = _instants(connection, question, until)
    is_complete = len(instants) < INSTANTS
    if not is_complete:
        until = instants[-1]
    change = _first_change(connection, question, instants)
    return {
        "at": None if change is None else change[0],
        "value": None if change is None else change[1],
        "instants": len(instants),
        "until": until,
        "is_complete": is_complete,
    }


def _instants(connection: Connection, question: Question, until: datetime) -> list[datetime]:
    """When something crosses an edge, in order."""
    found = {at for at in dates.fixed(question.definition) if question.as_of < at <= until}
    turns = compile_turns(question.definition, catalog=question.catalog)
    if turns is not None:
        given = {**turns.arguments(question.as_of, [question.profile]), "until": until, "limit": INSTANTS}
        found.update(row[0] for row in connection.exec_driver_sql(turns.sql, given))
    return sorted(found)[:INSTANTS]


def _first_change(connection: Connection, question: Question, instants: list[datetime]) -> tuple[datetime, Any] | None:
    evaluation = question.evaluation(question.definition, include_anonymous=question.include_anonymous)
    change = compile_first_change(evaluation)
    size, rest = _FIRST_BATCH, instants
    while rest:
        given = {**change.arguments(question.as_of, [question.profile]), "instants": [question.as_of, *rest[:size]]}
        row = connection.exec_driver_sql(change.sql, given).one_or_none()
        if row is not None:
            return row[0], row[1]
        rest, size = rest[size:], size * _GROWTH
    return None
