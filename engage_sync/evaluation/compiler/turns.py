"""When time alone may change what a definition says of people, and the first instant at which it does.

    select_turns(tree, …)      → rows (at): the instants after as_of, up to `until`, at which something crosses an edge
    over_instants(evaluation)  → rows (at, changed, said): the first of many instants at which anything else is said

The instants are a superset: what lies between two of them can't differ. They are those of any number of people and
accounts (parameters `profiles` and `accounts`) together, and so is what is said of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy import BigInteger, DateTime, Numeric, Select, bindparam, func, literal, select, union_all

from engage_sync.database import tables
from engage_sync.definitions.language import tree
from engage_sync.evaluation import dates, windows
from engage_sync.evaluation.compiler import edges, events
from engage_sync.evaluation.compiler.events import AS_OF, Event
from engage_sync.evaluation.compiler.statement import Evaluation
from engage_sync.evaluation.compiler.subjects import PROFILES, Accounts, People, Scope

_UNTIL = bindparam("until", type_=DateTime(timezone=True))
_LIMIT = bindparam("limit", type_=BigInteger)
_FIRST_CHANGE = """
WITH told AS MATERIALIZED (
  SELECT instant.at, (
    SELECT coalesce(jsonb_object_agg(evaluated.subject, evaluated.value), '{}')
    FROM ({evaluation}) AS evaluated (subject, value)
  ) AS said
  FROM unnest(CAST(%(instants)s AS timestamptz[])) AS instant (at)
)
SELECT told.at, (
  SELECT jsonb_object_agg(subject, told.said -> subject)
  FROM jsonb_object_keys(before.said || told.said) AS subject
  WHERE told.said -> subject IS DISTINCT FROM before.said -> subject
) AS changed, told.said::text
FROM told JOIN (SELECT CAST(%(before)s AS jsonb) AS said) AS before ON told.said <> before.said
ORDER BY told.at LIMIT 1
"""


def select_turns(definition: tree.Node, *, catalog: Mapping[str, int]) -> Select[Any] | None:
    """The statement; None where no event and no date of people can make a difference by time alone.

    Literals that are compared with now are the caller's (dates.fixed).
    """
    ages = dict.fromkeys(windows.turning_ages(definition))
    parts = [_of_events(event, age) for event, age in ages]
    for dated in dates.dated(definition):
        subject = _whose(dated)
        parts += [select(edge.subquery().c.at) for edge in edges.select_all_edges(dated, subject, catalog)]
    if not parts:
        return None
    turn = union_all(*parts).subquery("turn")
    later = select(turn.c.at).distinct().where(turn.c.at > AS_OF, turn.c.at <= _UNTIL)
    return later.order_by(turn.c.at).limit(_LIMIT)


def select_negative(event: str, reference: tree.EventField) -> Select[Any]:
    """A row if any value of a person's events is a number below 0."""
    rows: Any = tables.events.alias("event")
    mine = [rows.c.profile_id == func.any(PROFILES), rows.c.name == event]
    value = Event(rows=rows).read(reference)
    if "$" in reference.path:
        each = events.each(value, reference.path)
        rows, value = rows.join(each, literal(True)), each.c.value
    return select(literal(1)).select_from(rows).where(*mine, func.engage_number(value, type_=Numeric) < 0).limit(1)


def over_instants(evaluation: Evaluation) -> Evaluation:
    """An evaluation of some people or accounts at each of the parameter `instants`, against `before`."""
    at_each = evaluation.sql.replace("%(as_of)s", "instant.at")
    return replace(evaluation, sql=_FIRST_CHANGE.replace("{evaluation}", at_each))


def _whose(dated: dates.Dated) -> People | Accounts:
    if isinstance(dated.value, tree.TraitRef) and dated.value.of_account:
        return Accounts(scope=Scope.ACCOUNTS, include_anonymous=True)
    return People(scope=Scope.PROFILES, include_anonymous=True)


def _of_events(event: str, age: timedelta) -> Select[Any]:
    """When the events of a name reach an age."""
    table = tables.events
    at = table.c.timestamp
    return (
        select((at + literal(age)).label("at"))
        .where(table.c.profile_id == func.any(PROFILES), table.c.name == event)
        .where(at > AS_OF - literal(age), at <= _UNTIL - literal(age))
    )
