"""What is known of each person: a subselect for a trait, and for each pass over the events of one name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, FromClause, Select, and_, func, literal_column, select, true

from engage_sync.definitions.language import tree
from engage_sync.evaluation import presence, windows
from engage_sync.evaluation.compiler import events, reducers
from engage_sync.evaluation.compiler.conditions import Conditions
from engage_sync.evaluation.compiler.events import Event
from engage_sync.evaluation.compiler.subjects import Accounts, Scope, Subject, table_of
from engage_sync.evaluation.operands import Condition, Kind, Operand


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A subselect with one row a person or account (`key`); `columns` are the operands of the leaves it computes."""

    rows: FromClause
    columns: Mapping[presence.Leaf, Operand]
    key: str

    @property
    def subject(self) -> ColumnElement[int]:
        return self.rows.c[self.key]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """Makes the subselects of one statement. `catalog` maps keys of definitions to ids.

    `who_meets` gives one row (profile_id) for each person of whom a condition holds, for ANY and ALL.
    """

    subject: Subject
    catalog: Mapping[str, int]
    conditions: Conditions
    who_meets: Callable[[tree.Boolean], Select[Any]]

    def of(self, leaves: Sequence[presence.Leaf], existing: frozenset[presence.Leaf]) -> list[Source]:
        """One for each trait and each group of leaves that share a pass; of `existing` only whether there is any."""
        sources = [self._trait(leaf, f"trait_{n}") for n, leaf in enumerate(leaves) if isinstance(leaf, tree.TraitRef)]
        aggregates = [leaf for leaf in leaves if isinstance(leaf, tree.Aggregate)]
        for number, group in enumerate(_share(aggregates)):
            sources.append(self._pass(group, f"stream_{number}", existing))
        of_users = [leaf for leaf in leaves if isinstance(leaf, tree.AnyUser | tree.AllUsers)]
        return sources + [self._users(leaf, f"users_{number}") for number, leaf in enumerate(of_users)]

    def _users(self, leaf: tree.AnyUser | tree.AllUsers, name: str) -> Source:
        """The accounts of which it holds; one without users has neither any nor all of them."""
        assert isinstance(self.subject, Accounts), "the type checker lets them stand only in definitions of accounts"
        met = self.who_meets(leaf.operand).subquery("met")
        user = self.subject.users("user_")
        account = user.c.account_id
        same = met.c.profile_id == user.c.profile_id
        if isinstance(leaf, tree.AnyUser):
            rows = select(account).select_from(user.join(met, same)).group_by(account)
        else:
            everyone = func.count() == func.count(met.c.profile_id)
            rows = select(account).select_from(user.outerjoin(met, same)).group_by(account).having(everyone)
        if self.subject.scope is not Scope.ALL:
            rows = rows.where(account == func.any(self.subject.among))
        subquery = rows.subquery(name)
        holds = Operand(kind=Kind.NUMBER, expression=subquery.c.account_id)
        return Source(rows=subquery, columns={leaf: holds}, key=self.subject.key)

    def _trait(self, leaf: tree.TraitRef, name: str) -> Source:
        """A trait that was sent, or the snapshot of another definition."""
        table, mine, whose = table_of(leaf, self.catalog)
        rows = select(whose, events.walk(table.c.value, leaf.path[1:]).label("value")).where(mine)
        if self.subject.scope is not Scope.ALL:
            rows = rows.where(whose == func.any(self.subject.among))
        subquery = rows.subquery(name)
        value = Operand(kind=Kind.JSON, expression=subquery.c.value)
        return Source(rows=subquery, columns={leaf: value}, key=self.subject.key)

    def _pass(self, group: Sequence[tree.Aggregate], name: str, existing: frozenset[presence.Leaf]) -> Source:
        """One pass over the events of one name, grouped by subject, with a column a leaf."""
        if self.subject.scope is not Scope.ALL and _is_at_an_end(group[0]) and not isinstance(self.subject, Accounts):
            return self._at_an_end(group[0], name)
        widest = reduce(lambda one, other: one if one.covers(other) else other, map(_ages, group))
        event, base = self._events(group, widest)
        if len(group) == 1:
            base.extend(self.conditions.filters(group[0].stream, event))
            if group[0] in existing:
                one = literal_column("1", BigInteger).label("value")
                rows = select(event.subject, one).where(*base).group_by(event.subject)
            else:
                rows = reducers.reduced(group[0].reducer, event, base, event.subject)
        else:
            columns = []
            for number, leaf in enumerate(group):
                own = [*self.conditions.filters(leaf.stream, event)]
                if _ages(leaf) != widest:
                    own.extend(events.within(event, _ages(leaf)))
                read = None if isinstance(leaf.reducer, tree.Count) else event.read(leaf.reducer.of)
                value = reducers.aggregate(leaf.reducer, read, and_(*own) if own else None)
                columns.append(value.label(f"value_{number}"))
            rows = select(event.subject, *columns).where(*base).group_by(event.subject)
        subquery = rows.subquery(name)
        values = [column for column in subquery.c if column.name != self.subject.key]
        return Source(
            rows=subquery,
            columns={leaf: reducers.operand(leaf.reducer, column) for leaf, column in zip(group, values, strict=True)},
            key=self.subject.key,
        )

    def _at_an_end(self, leaf: tree.Aggregate, name: str) -> Source:
        """The first or the last event's value of each person: the index leads there, past what lies behind it."""
        person = func.unnest(self.subject.among).table_valued("id", name=f"{name}_of").render_derived()
        event = self.subject.events("event")
        base = [
            event.subject == person.c.id,
            event.c.name == leaf.stream.event,
            *events.within(event, _ages(leaf), self.conditions.since),
            *self.conditions.filters(leaf.stream, event),
        ]
        found = reducers.reduced(leaf.reducer, event, base, None).lateral(f"{name}_found")
        rows = select(person.c.id.label("profile_id"), found.c.value).select_from(person.join(found, true()))
        subquery = rows.subquery(name)
        columns: dict[presence.Leaf, Operand] = {leaf: reducers.operand(leaf.reducer, subquery.c.value)}
        return Source(rows=subquery, columns=columns, key=self.subject.key)

    def _events(self, group: Sequence[tree.Aggregate], widest: windows.Ages) -> tuple[Event, list[Condition]]:
        """The events of a pass, and what is still to be asked of each."""
        name = group[0].stream.event
        places = tuple(sorted({events.place(reference) for leaf in group for reference in _asked(leaf)}))
        event = self.subject.events("event")
        base = [event.c.name == name, *events.within(event, widest, self.conditions.since)]
        if self.subject.scope is not Scope.ALL:
            base.append(event.subject == func.any(self.subject.among))
        return (events.read_once(event, base, places), []) if places else (event, base)


def _is_at_an_end(leaf: tree.Aggregate) -> bool:
    """Whether a leaf's value is that of one event at an end of the stream. These have a pass of their own."""
    return isinstance(leaf.reducer, tree.First | tree.Last) and "$" not in leaf.reducer.of.path


def _asked(leaf: tree.Aggregate) -> list[tree.EventField]:
    """What a leaf asks of the events of its stream, by itself and as the parent of those inside its `where`."""
    return [reference for part in (*leaf.stream.filters, leaf.reducer) for reference in events.references_to(part)]


def _share(leaves: Sequence[tree.Aggregate]) -> list[list[tree.Aggregate]]:
    """Groups of leaves that one pass can compute: of one event, the widest window holding the others."""
    groups: list[list[tree.Aggregate]] = []
    for leaf in leaves:
        home = next((group for group in groups if _fits(leaf, group)), None)
        if home is None:
            groups.append([leaf])
        else:
            home.append(leaf)
    return groups


def _fits(leaf: tree.Aggregate, group: Sequence[tree.Aggregate]) -> bool:
    alone = (tree.First, tree.Last, tree.Mode)
    if any(isinstance(one.reducer, alone) or _has_many(one.reducer) for one in (leaf, *group)):
        return False
    first = group[0]
    return (
        leaf.stream.event == first.stream.event
        and (_ages(leaf).covers(_ages(first)) or _ages(first).covers(_ages(leaf)))
        and all(_ages(one).covers(_ages(leaf)) or _ages(leaf).covers(_ages(one)) for one in group)
    )


def _has_many(reducer: tree.Reducer) -> bool:
    return not isinstance(reducer, tree.Count) and "$" in reducer.of.path


def _ages(leaf: tree.Aggregate) -> windows.Ages:
    return windows.ages(leaf.stream)
