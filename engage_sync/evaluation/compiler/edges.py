"""When a date will next change what a definition says: the edges of comparisons with now, which lie in data.

    select_edges(tree, …) → rows (profile_id, at): the first edge of each profile after as_of

Of a value inside events all events of that name count, whether the query's windows hold them or not: an edge too many
costs one evaluation, an edge too few would be a mistake. Rules: docs/decisions/0011-dates-compared-with-now.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, DateTime, Select, Subquery, case, cast, func, literal, select, union_all

from engage_sync.definitions.language import tree
from engage_sync.definitions.language.tree import Comparator
from engage_sync.evaluation import dates, operands
from engage_sync.evaluation.compiler import events
from engage_sync.evaluation.compiler.events import AS_OF
from engage_sync.evaluation.compiler.subjects import Accounts, People, Scope, Subject, table_of


def select_edges(definition: tree.Node, *, scope: Scope, catalog: Mapping[str, int]) -> Select[Any] | None:
    """The statement; None where the definition compares no date of people or events with now."""
    if isinstance(definition, tree.OfAccounts):
        return _of_accounts(definition, scope, catalog)
    people = People(scope=scope, include_anonymous=True)
    parts = [_select_one(each, people, catalog) for each in dates.dated(definition)]
    if not parts:
        return None
    edge = union_all(*parts).subquery("edge")
    first = func.min(edge.c.at)
    return select(edge.c.profile_id, first.label("at")).group_by(edge.c.profile_id).having(first.is_not(None))


def _of_accounts(definition: tree.OfAccounts, scope: Scope, catalog: Mapping[str, int]) -> Select[Any] | None:
    """A date of an account, or of any of its users, concerns all its users."""
    accounts = Accounts(scope=scope, include_anonymous=True)
    parts = []
    for each in dates.dated(definition):
        if isinstance(each.value, tree.TraitRef) and each.value.of_account:
            parts.append(_select_one(each, accounts, catalog))
        else:
            one = _select_one(each, accounts.each_user(), catalog).subquery("one")
            user = accounts.users("user_")
            rows = one.join(user, user.c.profile_id == one.c.profile_id)
            parts.append(select(user.c.account_id, one.c.at).select_from(rows))
    if not parts:
        return None
    edge, told = union_all(*parts).subquery("edge"), accounts.told("told", newest=False)
    first = func.min(edge.c.at)
    rows = edge.join(told, told.c.account_id == edge.c.account_id)
    found = select(told.c.profile_id, first.label("at")).select_from(rows)
    return found.group_by(told.c.profile_id).having(first.is_not(None))


def select_all_edges(found: dates.Dated, subject: Subject, catalog: Mapping[str, int]) -> list[Select[Any]]:
    """(profile_id or account_id, at) for every edge of every value, past ones too; one statement a kind of edge."""
    values = _values(found, subject, catalog)
    return [
        select(values.c[subject.key], edge.label("at")).where(edge.is_not(None))
        for edge in _edges(values.c.at, found.comparator, found.duration)
    ]


def _select_one(found: dates.Dated, subject: Subject, catalog: Mapping[str, int]) -> Select[Any]:
    """(profile_id or account_id, at) for each value; at is null where no edge is left."""
    values = _values(found, subject, catalog)
    return select(values.c[subject.key], _next(values.c.at, found.comparator, found.duration).label("at"))


def _values(found: dates.Dated, subject: Subject, catalog: Mapping[str, int]) -> Subquery:
    """(profile_id or account_id, at): the instants that are compared with now; null for what reads as none."""
    rows: Any
    if isinstance(found.value, tree.TraitRef):
        rows, mine, whose = table_of(found.value, catalog)
        value = events.walk(rows.c.value, found.value.path[1:])
    else:
        event = subject.events("event")
        rows, whose = event.rows, event.subject
        mine = rows.c.name == found.event
        value = event.read(found.value)
    asked = [mine]
    if subject.scope is not Scope.ALL:
        asked.append(whose == func.any(subject.among))
    if "$" in found.value.path:
        each = events.each(value, found.value.path)
        rows, value = rows.join(each, literal(True)), each.c.value
    at = operands.instant(operands.Operand(kind=operands.Kind.JSON, expression=value))
    return select(whose.label(subject.key), at.label("at")).select_from(rows).where(*asked).subquery("dated")


def _next(at: ColumnElement[Any], comparator: Comparator, duration: tree.Duration) -> ColumnElement[Any]:
    """The first edge after as_of of a value that lies at an instant."""
    later = [case((edge > AS_OF, edge)) for edge in _edges(at, comparator, duration)]
    return func.least(*later) if len(later) > 1 else later[0]


def _edges(at: ColumnElement[Any], comparator: Comparator, duration: tree.Duration) -> list[ColumnElement[Any]]:
    start = func.timezone("UTC", func.date_trunc("day", func.timezone("UTC", at))) if duration.in_calendar_days else at
    return [cast(start + literal(offset), DateTime(timezone=True)) for offset in dates.offsets(comparator, duration)]
