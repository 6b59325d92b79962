"""What a definition reads of events as a number, a date or a list, where the value may be of another type.

Values of the wrong type are skipped; explain counts and shows them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, assert_never

from sqlalchemy import ColumnElement, Numeric, func

from engage_sync.definitions.language import tree
from engage_sync.definitions.language.tree import Comparator
from engage_sync.evaluation import operands
from engage_sync.evaluation.operands import Condition, Kind, Operand

_ORDERING = frozenset({Comparator.GREATER_THAN, Comparator.AT_LEAST, Comparator.LESS_THAN, Comparator.AT_MOST})
_DATED = frozenset({Comparator.BEFORE_DATE, Comparator.AFTER_DATE}) | tree.RELATIVE_TO_NOW


class Expected(StrEnum):
    NUMBER = "number"
    DATE = "date"
    LIST = "list"


def is_ordering(comparator: Comparator) -> bool:
    """Whether it compares numbers only."""
    return comparator in _ORDERING


def is_dated(comparator: Comparator) -> bool:
    """Whether it compares dates only."""
    return comparator in _DATED


def typed(aggregate: tree.Aggregate) -> list[tuple[tree.EventField, Expected, bool]]:
    """(reference, what it is read as, whether of the events that count only) of all that the aggregate reads so."""
    found = []
    reducer = aggregate.reducer
    if isinstance(reducer, tree.Sum | tree.Avg) or (isinstance(reducer, tree.Min | tree.Max) and not reducer.as_string):
        found.append((reducer.of, Expected.NUMBER, True))
    if isinstance(reducer, tree.Mode) and reducer.as_array:
        found.append((reducer.of, Expected.LIST, True))
    for each in aggregate.stream.filters:
        if isinstance(each, tree.Where):
            found += [(reference, expected, False) for reference, expected in _compared(each.condition)]
    return found


def reads_as(value: ColumnElement[Any], expected: Expected) -> Condition:
    """Whether a JSON value can be read so."""
    match expected:
        case Expected.NUMBER:
            return func.engage_number(value, type_=Numeric).is_not(None)
        case Expected.DATE:
            return operands.instant(Operand(kind=Kind.JSON, expression=value)).is_not(None)
        case Expected.LIST:
            return func.jsonb_typeof(value) == "array"
        case _:
            assert_never(expected)


def _compared(node: tree.Node) -> list[tuple[tree.EventField, Expected]]:
    """What comparisons read of the event at hand as a number or a date; nothing of the events that follow it."""
    match node:
        case tree.And() | tree.Or():
            return [found for each in node.operands for found in _compared(each)]
        case tree.Not():
            return _compared(node.operand)
        case tree.Comparison() if node.comparator in _ORDERING | _DATED:
            expected = Expected.NUMBER if node.comparator in _ORDERING else Expected.DATE
            own = [
                each for each in (node.left, *node.arguments) if isinstance(each, tree.PropertyRef | tree.ContextRef)
            ]
            return [(each, expected) for each in own if not (isinstance(each, tree.PropertyRef) and each.parent)]
        case _:
            return []
