"""From rows of events to one value: for each profile of a pass (`by`), or for the one parent that a funnel looks at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, assert_never

from sqlalchemy import ColumnElement, FromClause, Numeric, Select, and_, cast, func, select, true
from sqlalchemy.dialects.postgresql import JSONB, aggregate_order_by, distinct_on

from engage_sync.definitions.language import tree
from engage_sync.evaluation import operands
from engage_sync.evaluation.compiler import events
from engage_sync.evaluation.compiler.events import Event
from engage_sync.evaluation.operands import Condition, Kind, Operand


def reduced(
    reducer: tree.Reducer,
    event: Event,
    conditions: list[Condition],
    by: ColumnElement[int] | None,
    around: Sequence[Any] = (),
) -> Select[Any]:
    """The value over those events: with `by` (profile_id, value) for each profile; else one row with the value.

    `around` are the tables of the statement around this one that the conditions mention.
    """
    rows: FromClause = event.rows
    if isinstance(reducer, tree.Count):
        return _grouped(func.count(), rows, conditions, by)
    value: ColumnElement[Any] = event.read(reducer.of)
    place: ColumnElement[Any] = event.c.id
    if "$" in reducer.of.path:
        each = events.each(value, reducer.of.path)
        # An event without any item still is a matching event: a count over it is 0, not absent.
        rows, value, place = rows.outerjoin(each, true()), each.c.value, each.c.place
    if isinstance(reducer, tree.First | tree.Last):
        return _first_or_last(reducer, event, rows, value, place, conditions, by)
    if isinstance(reducer, tree.Mode):
        return _mode(reducer, rows, value, conditions, by, around)
    return _grouped(aggregate(reducer, value, None), rows, conditions, by)


def aggregate(
    reducer: tree.Reducer, value: ColumnElement[Any] | None, condition: Condition | None
) -> ColumnElement[Any]:
    """The aggregate of a reducer over JSON values; without usable ones null, a count 0."""
    if value is None:
        counted = func.count()
        return counted if condition is None else counted.filter(condition)
    text = func.engage_text(value, type_=operands.TEXT)
    number = func.engage_number(value, type_=Numeric)
    made: Any
    match reducer:
        case tree.Sum():
            made = func.sum(number)
        case tree.Avg():
            made = func.avg(number)
        case tree.Min():
            made = func.min(text if reducer.as_string else number)
        case tree.Max():
            made = func.max(text if reducer.as_string else number)
        case tree.Unique():
            made = func.array_agg(aggregate_order_by(text.distinct(), text))
            condition = and_(text.is_not(None), condition) if condition is not None else text.is_not(None)
        case tree.UniqueCount():
            made = func.count(text.distinct())
        case _:
            raise AssertionError(f"{type(reducer).__name__} has its own pass")
    result: ColumnElement[Any] = made if condition is None else made.filter(condition)
    return result


def kind(reducer: tree.Reducer) -> Kind:
    """How a reducer's value lies in SQL."""
    match reducer:
        case tree.Count() | tree.UniqueCount() | tree.Sum() | tree.Avg():
            return Kind.NUMBER
        case tree.Min() | tree.Max():
            return Kind.TEXT if reducer.as_string else Kind.NUMBER
        case tree.First() | tree.Last():
            return Kind.JSON
        case tree.Mode():
            return Kind.JSON if reducer.as_array else Kind.TEXT
        case tree.Unique():
            return Kind.LIST
        case _:
            assert_never(reducer)


def is_count(reducer: tree.Reducer) -> bool:
    """Whether nothing reduces to 0, rather than to no value."""
    return isinstance(reducer, tree.Count | tree.UniqueCount)


def operand(reducer: tree.Reducer, column: ColumnElement[Any]) -> Operand:
    """A reducer's column as a value to compare with."""
    return Operand(kind=kind(reducer), expression=func.coalesce(column, 0) if is_count(reducer) else column)


def json_value(leaf: tree.Aggregate | tree.TraitRef, value: Operand) -> ColumnElement[Any]:
    """A value as it is stored and leaves: sums and the like with a decimal point, counts as integers."""
    if value.kind is Kind.JSON:
        return value.expression
    assert isinstance(leaf, tree.Aggregate)
    if is_count(leaf.reducer) or value.kind is not Kind.NUMBER:
        return func.to_jsonb(value.expression, type_=JSONB)
    return func.engage_float(value.expression, type_=JSONB)


def _grouped(
    value: ColumnElement[Any], rows: FromClause, conditions: list[Condition], by: ColumnElement[int] | None
) -> Select[Any]:
    labelled = value.label("value")
    if by is None:
        return select(labelled).select_from(rows).where(*conditions)
    return select(by, labelled).select_from(rows).where(*conditions).group_by(by)


def _first_or_last(
    reducer: tree.First | tree.Last,
    event: Event,
    rows: FromClause,
    value: Any,
    place: ColumnElement[Any],
    conditions: list[Condition],
    by: ColumnElement[int] | None,
) -> Select[Any]:
    """By timestamp, ties by the order of arrival, then by place in the array; the value as it was sent."""
    order: list[ColumnElement[Any]] = [event.c.timestamp, event.c.id, place]
    if not isinstance(reducer, tree.First):
        order = [column.desc() for column in order]
    present = operands.present(Operand(kind=Kind.JSON, expression=value))
    labelled = value.label("value")
    if by is None:
        return select(labelled).select_from(rows).where(*conditions, present).order_by(*order).limit(1)
    chosen = select(by, labelled).ext(distinct_on(by)).select_from(rows)
    return chosen.where(*conditions, present).order_by(by, *order)


def _mode(
    reducer: tree.Mode,
    rows: FromClause,
    value: Any,
    conditions: list[Condition],
    by: ColumnElement[int] | None,
    around: Sequence[Any],
) -> Select[Any]:
    """The most frequent value of at least `minimum` occurrences; on a tie the alphabetically first."""
    text = func.engage_text(value, type_=operands.TEXT)
    usable = func.jsonb_typeof(value) == "array" if reducer.as_array else text.is_not(None)
    keys = [text] if by is None else [by, text]
    counted = (
        select(*([] if by is None else [by]), text.label("value"), func.count().label("times"))
        .select_from(rows)
        .where(*conditions, usable)
        .group_by(*keys)
        .having(func.count() >= reducer.minimum)
        .correlate(*around)
        .subquery("counted")
    )
    found: ColumnElement[Any] = cast(counted.c.value, JSONB) if reducer.as_array else counted.c.value
    order = [counted.c.times.desc(), counted.c.value]
    if by is None:
        return select(found.label("value")).order_by(*order).limit(1)
    person = counted.c[by.name]
    return select(person, found.label("value")).ext(distinct_on(person)).order_by(person, *order)
