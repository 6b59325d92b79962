"""Conditions of a query as SQL: of a person, and inside `where` of one event, its parent and the events that follow it.

A funnel (an event inside another's `where`) looks, for each parent, at what came after it. As long as the parent's
window is open, a comparison counts as true only if more events can't undo it; it waits for the window's end otherwise.
Source of the rules: docs/decisions/0004-semantics.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Any, assert_never

from sqlalchemy import ColumnElement, FromClause, Text, and_, func, literal, not_, or_, select
from sqlalchemy.dialects.postgresql import ARRAY

from engage_sync.database import tables
from engage_sync.definitions.language import tree
from engage_sync.definitions.language.tree import Comparator
from engage_sync.evaluation import funnels, operands, presence, windows
from engage_sync.evaluation.compiler import events, reducers
from engage_sync.evaluation.compiler.events import AS_OF, Event
from engage_sync.evaluation.compiler.subjects import People, Scope, Subject, table_of
from engage_sync.evaluation.operands import Condition, Kind, Operand


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """What an expression may refer to: the leaves of a person or account; or an event of theirs, and the one around."""

    subject: ColumnElement[int]
    known: Mapping[presence.Leaf, Operand] = field(default_factory=dict)
    event: Event | None = None
    parent: Event | None = None


class Conditions:
    """Compiles conditions of one definition. `catalog` maps keys of definitions to ids.

    `since`: events before this instant don't count. `subject` (None: people) is whom it asks of.
    """

    def __init__(
        self,
        catalog: Mapping[str, int],
        since: datetime | None = None,
        subject: Subject | None = None,
    ) -> None:
        self._catalog = catalog
        self._subject = subject or People(scope=Scope.ALL, include_anonymous=True)
        self.since = since
        self._numbers = count(1)

    def condition(self, expression: Any, row: Row, negated: bool = False) -> Condition:
        """The condition, or its negation: never null where it is negated, else null may stand for false.

        NOT moves inward to the comparisons, as whether one may be true already depends on what is asked of it.
        """
        match expression:
            case tree.And() | tree.Or():
                join = and_ if isinstance(expression, tree.And) is not negated else or_
                return join(*(self.condition(operand, row, negated) for operand in expression.operands))
            case tree.Not():
                return self.condition(expression.operand, row, not negated)
            case tree.Comparison():
                return self._literal(expression, row, negated)
            case tree.AnyUser() | tree.AllUsers():
                account = row.known[expression].expression
                return account.is_(None) if negated else account.is_not(None)
            case _:
                raise AssertionError(f"the type checker lets no {type(expression).__name__} through")

    def filters(self, stream: tree.Stream, event: Event, parent: Event | None = None) -> list[Condition]:
        """What `where` and `sources` ask of an event; windows are the caller's."""
        return [
            self.filter(each, event, parent) for each in stream.filters if isinstance(each, tree.Where | tree.Sources)
        ]

    def filter(self, given: tree.Where | tree.Sources, event: Event, parent: Event | None = None) -> Condition:
        """What one of them asks of an event."""
        match given:
            case tree.Where():
                row = Row(subject=event.subject, event=event, parent=parent)
                return self.condition(given.condition, row)
            case tree.Sources():
                slugs = literal(list(given.exclude), ARRAY(Text))
                excluded = select(tables.sources.c.id).where(tables.sources.c.slug == func.any(slugs))
                found: Condition = event.c.source_id.not_in(excluded.scalar_subquery())
                return found
            case _:
                assert_never(given)

    def operand(self, value: tree.Node, row: Row) -> Operand:
        """A value that stands in an expression."""
        match value:
            case tree.Aggregate() if row.event is not None:
                return reducers.operand(value.reducer, self._child(value, row))
            case tree.Aggregate():
                return row.known[value]
            case tree.TraitRef():
                if value in row.known:
                    return row.known[value]
                return Operand(kind=Kind.JSON, expression=self._trait_of(value, row))
            case tree.PropertyRef() | tree.ContextRef():
                return Operand(kind=Kind.JSON, expression=_owner(value, row).read(value))
            case tree.LiteralValue():
                return Operand(kind=Kind.TEXT, expression=literal(None), constant=value.value)
            case _:
                raise AssertionError(f"the type checker lets no {type(value).__name__} through")

    # --- one comparison -----------------------------------------------------------------------------------------

    def _literal(self, comparison: tree.Comparison, row: Row, negated: bool) -> Condition:
        said = self._comparison(comparison, row)
        said = not_(operands.known(said)) if negated else said
        closes = None
        if row.event is not None and isinstance(comparison.left, tree.Aggregate):
            closes = funnels.closes_after(comparison.left.stream)
        if closes is None or funnels.is_final(comparison, negated):
            return said
        assert row.event is not None
        return and_(row.event.c.timestamp <= AS_OF - literal(closes), said)

    def _comparison(self, comparison: tree.Comparison, row: Row) -> Condition:
        """Of a path with `$`, true if any of its values makes it so; absent and omits if none makes it otherwise."""
        comparator, arguments = comparison.comparator, comparison.arguments
        if row.event is not None and (existence := presence.existence(comparison)) is not None:
            assert isinstance(comparison.left, tree.Aggregate)
            found = self._any_child(comparison.left.stream, row)
            return found if existence else not_(found)
        many = self._many(comparison.left, row, "each")
        if many is None:
            return self._holds(self.operand(comparison.left, row), comparator, arguments, row)
        each = Operand(kind=Kind.JSON, expression=many.c.value)
        opposite = {Comparator.ABSENT: Comparator.EXISTS, Comparator.OMITS: Comparator.CONTAINS}.get(comparator)
        asked = self._holds(each, opposite or comparator, arguments, row)
        found = select(literal(1)).select_from(many).where(asked).exists()
        return not_(found) if opposite else found

    def _holds(
        self, left: Operand, comparator: Comparator, arguments: Sequence[tree.Scalar | tree.Duration], row: Row
    ) -> Condition:
        """What one value says; of an argument with `$`, each of its values is an argument."""
        given: list[Operand | tree.Duration] = []
        several: list[FromClause] = []
        for number, argument in enumerate(arguments):
            many = self._many(argument, row, f"argument_{number}")
            if many is not None:
                several.append(many)
            else:
                given.append(argument if isinstance(argument, tree.Duration) else self.operand(argument, row))
        if not several:
            return operands.compare(left, comparator, given, AS_OF)
        if comparator is Comparator.NONE_OF:
            one_of = self._holds(left, Comparator.ONE_OF, arguments, row)
            return and_(operands.present(left), not_(operands.known(one_of)))
        if comparator is Comparator.OMITS:
            return not_(operands.known(self._holds(left, Comparator.CONTAINS, arguments, row)))
        ways = [operands.compare(left, comparator, given, AS_OF)] if given else []
        for many in several:
            one = Operand(kind=Kind.JSON, expression=many.c.value)
            asked = operands.compare(left, comparator, [one], AS_OF)
            ways.append(select(literal(1)).select_from(many).where(asked).exists())
        return or_(*ways)

    def _many(self, value: tree.Node, row: Row, name: str) -> FromClause | None:
        """The values of a path with `$`; None for a path without."""
        match value:
            case tree.PropertyRef() | tree.ContextRef() if "$" in value.path and row.event is not None:
                return events.each(_owner(value, row).read(value), value.path, name)
            case tree.TraitRef() if "$" in value.path:
                # A leaf was compiled with its path cut before the first `$`.
                known = row.known[value].expression if value in row.known else self._trait_of(value, row)
                return events.each(known, value.path, name)
            case _:
                return None

    def _trait_of(self, reference: tree.TraitRef, row: Row) -> ColumnElement[Any]:
        """A trait of the person, or the account, whose event is looked at."""
        table, mine, whose = table_of(reference, self._catalog)
        value = select(events.walk(table.c.value, reference.path[1:])).where(whose == row.subject, mine)
        return value.correlate(row.event.rows).scalar_subquery() if row.event is not None else value.scalar_subquery()

    # --- what follows an event ----------------------------------------------------------------------------------

    def _any_child(self, stream: tree.Stream, row: Row) -> Condition:
        child, conditions = self._children(stream, row)
        return select(literal(1)).select_from(child.rows).where(*conditions).correlate(*_around(row)).exists()

    def _child(self, leaf: tree.Aggregate, row: Row) -> ColumnElement[Any]:
        child, conditions = self._children(leaf.stream, row)
        around = _around(row)
        value = reducers.reduced(leaf.reducer, child, conditions, None, around)
        return value.correlate(*around).scalar_subquery()

    def _children(self, stream: tree.Stream, row: Row) -> tuple[Event, list[Condition]]:
        """The events of a stream that came after the event at hand, inside their windows of both kinds."""
        parent = row.event
        assert parent is not None
        child = self._subject.events(f"child_{next(self._numbers)}")
        conditions = [
            child.subject == parent.subject,
            child.c.name == stream.event,
            child.c.timestamp > parent.c.timestamp,
            *events.within(child, windows.ages(stream), self.since),
        ]
        for each in stream.filters:
            if isinstance(each, tree.Within | tree.Between) and each.of_parent:
                conditions.extend(events.after(child, parent, each))
        return child, [*conditions, *self.filters(stream, child, parent)]


def _owner(reference: tree.EventField, row: Row) -> Event:
    """The event that a reference speaks of."""
    owner = row.parent if isinstance(reference, tree.PropertyRef) and reference.parent else row.event
    assert owner is not None, "the type checker lets properties stand only beside an event"
    return owner


def _around(row: Row) -> list[Any]:
    return [each.rows for each in (row.event, row.parent) if each is not None]
