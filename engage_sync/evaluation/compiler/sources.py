"""What is known of each person: a subselect for a trait, and for each pass over the events of one name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import reduce

from sqlalchemy import BigInteger, ColumnElement, FromClause, and_, bindparam, func, literal_column, select, true
from sqlalchemy.dialects.postgresql import ARRAY

from engage_sync.database import tables
from engage_sync.definitions.language import tree
from engage_sync.evaluation import presence, windows
from engage_sync.evaluation.compiler import events, reducers
from engage_sync.evaluation.compiler.conditions import Conditions
from engage_sync.evaluation.compiler.events import Event
from engage_sync.evaluation.operands import Condition, Kind, Operand

PROFILES = bindparam("profiles", type_=ARRAY(BigInteger))


class Scope(StrEnum):
    ALL = "all"
    PROFILES = "profiles"


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A subselect with one row a profile; `columns` are the operands of the leaves that it computes."""

    rows: FromClause
    columns: Mapping[presence.Leaf, Operand]

    @property
    def profile_id(self) -> ColumnElement[int]:
        return self.rows.c.profile_id


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """Makes the subselects of one statement. `catalog` maps keys of definitions to ids."""

    scope: Scope
    catalog: Mapping[str, int]
    conditions: Conditions

    def of(self, leaves: Sequence[presence.Leaf], existing: frozenset[presence.Leaf]) -> list[Source]:
        """One for each trait and each group of leaves that share a pass; of `existing` only whether there is any."""
        sources = [self._trait(leaf, f"trait_{n}") for n, leaf in enumerate(leaves) if isinstance(leaf, tree.TraitRef)]
        aggregates = [leaf for leaf in leaves if isinstance(leaf, tree.Aggregate)]
        for number, group in enumerate(_share(aggregates)):
            sources.append(self._pass(group, f"stream_{number}", existing))
        return sources

    def _trait(self, leaf: tree.TraitRef, name: str) -> Source:
        """A trait that was sent, or the snapshot of another definition."""
        root, *path = leaf.path
        definition_id = self.catalog.get(root)
        if definition_id is None:
            table = tables.traits
            mine: Condition = table.c.name == root
        else:
            table = self.conditions.snapshots
            mine = table.c.definition_id == definition_id
        rows = select(table.c.profile_id, events.walk(table.c.value, path).label("value")).where(mine)
        if self.scope is Scope.PROFILES:
            rows = rows.where(table.c.profile_id == func.any(PROFILES))
        subquery = rows.subquery(name)
        return Source(rows=subquery, columns={leaf: Operand(kind=Kind.JSON, expression=subquery.c.value)})

    def _pass(self, group: Sequence[tree.Aggregate], name: str, existing: frozenset[presence.Leaf]) -> Source:
        """One pass over the events of one name, grouped by profile, with a column a leaf."""
        if self.scope is Scope.PROFILES and _is_at_an_end(group[0]):
            return self._at_an_end(group[0], name)
        widest = reduce(lambda one, other: one if one.covers(other) else other, map(_ages, group))
        event, base = self._events(group, widest)
        if len(group) == 1:
            base.extend(self.conditions.filters(group[0].stream, event))
            if group[0] in existing:
                one = literal_column("1", BigInteger).label("value")
                rows = select(event.c.profile_id, one).where(*base).group_by(event.c.profile_id)
            else:
                rows = reducers.reduced(group[0].reducer, event, base, event.c.profile_id)
        else:
            columns = []
            for number, leaf in enumerate(group):
                own = [*self.conditions.filters(leaf.stream, event)]
                if _ages(leaf) != widest:
                    own.extend(events.within(event, _ages(leaf)))
                read = None if isinstance(leaf.reducer, tree.Count) else event.read(leaf.reducer.of)
                value = reducers.aggregate(leaf.reducer, read, and_(*own) if own else None)
                columns.append(value.label(f"value_{number}"))
            rows = select(event.c.profile_id, *columns).where(*base).group_by(event.c.profile_id)
        subquery = rows.subquery(name)
        values = [column for column in subquery.c if column.name != "profile_id"]
        return Source(
            rows=subquery,
            columns={leaf: reducers.operand(leaf.reducer, column) for leaf, column in zip(group, values, strict=True)},
        )

    def _at_an_end(self, leaf: tree.Aggregate, name: str) -> Source:
        """The first or the last event's value of each person: the index leads there, past what lies behind it."""
        person = func.unnest(PROFILES).table_valued("id", name=f"{name}_of").render_derived()
        event = Event(rows=tables.events.alias("event"))
        base = [
            event.c.profile_id == person.c.id,
            event.c.name == leaf.stream.event,
            *events.within(event, _ages(leaf), self.conditions.since),
            *self.conditions.filters(leaf.stream, event),
        ]
        found = reducers.reduced(leaf.reducer, event, base, None).lateral(f"{name}_found")
        rows = select(person.c.id.label("profile_id"), found.c.value).select_from(person.join(found, true()))
        subquery = rows.subquery(name)
        return Source(rows=subquery, columns={leaf: reducers.operand(leaf.reducer, subquery.c.value)})

    def _events(self, group: Sequence[tree.Aggregate], widest: windows.Ages) -> tuple[Event, list[Condition]]:
        """The events of a pass, and what is still to be asked of each."""
        name = group[0].stream.event
        places = tuple(sorted({events.place(reference) for leaf in group for reference in _asked(leaf)}))
        event = Event(rows=tables.events.alias("event"))
        base = [event.c.name == name, *events.within(event, widest, self.conditions.since)]
        if self.scope is Scope.PROFILES:
            base.append(event.c.profile_id == func.any(PROFILES))
        return (events.read_once(event.rows, base, places), []) if places else (event, base)


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
