"""The query language, evaluated one person at a time in plain Python: slow, obvious, and apart from the compiler.

Input are plain facts; output is True or False for an audience, and a JSON value or None for a computed trait.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from engage_sync.definitions.language import tree
from engage_sync.definitions.language.tree import Comparator


@dataclass(frozen=True, kw_only=True)
class Event:
    """`arrival` numbers events in the order in which they came."""

    name: str
    timestamp: datetime
    arrival: int
    source: str = "web"
    properties: Mapping[str, Any] = field(default_factory=dict)
    context: Mapping[str, Any] | None = None


@dataclass(kw_only=True)
class Person:
    """`traits` are those that were sent; `definitions` what other definitions say: absent, or a value."""

    events: list[Event] = field(default_factory=list)
    traits: dict[str, Any] = field(default_factory=dict)
    definitions: dict[str, Any] = field(default_factory=dict)


def is_member(expression: Any, person: Person, as_of: datetime, event: Event | None = None) -> bool:
    """Whether a condition holds for a person, or inside `where` for one of their events."""
    match expression:
        case tree.And():
            return all(is_member(each, person, as_of, event) for each in expression.operands)
        case tree.Or():
            return any(is_member(each, person, as_of, event) for each in expression.operands)
        case tree.Not():
            return not is_member(expression.operand, person, as_of, event)
        case tree.Comparison():
            return _compare(expression, person, as_of, event)
        case _:
            raise NotImplementedError(expression)


def value_of(definition: Any, person: Person, as_of: datetime) -> Any:
    """The value of a computed trait as it is stored; None: no value."""
    if isinstance(definition, tree.TraitRef):
        found = [each for each in _trait(definition, person) if each is not None]
        return found[0] if found else None
    if not _events(definition.stream, person, as_of):
        return None
    value = _reduce(definition, person, as_of)
    if isinstance(value, Fraction):
        return _outside(value)
    return value


def _compare(comparison: tree.Comparison, person: Person, as_of: datetime, event: Event | None) -> bool:
    lefts = [each for each in _values(comparison.left, person, as_of, event) if each is not None]
    arguments: list[Any] = []
    for argument in comparison.arguments:
        if isinstance(argument, tree.Duration):
            arguments.append(argument)
        else:
            found = _values(argument, person, as_of, event)
            arguments.append(found[0] if found else None)
    match comparison.comparator:
        case Comparator.EXISTS:
            return bool(lefts)
        case Comparator.ABSENT:
            return not lefts
        case Comparator.OMITS:
            return not any(_one(Comparator.CONTAINS, left, arguments, as_of) for left in lefts)
        case comparator:
            return any(_one(comparator, left, arguments, as_of) for left in lefts)


def _one(comparator: Comparator, left: Any, arguments: Sequence[Any], as_of: datetime) -> bool:
    first = arguments[0] if arguments else None
    match comparator:
        case Comparator.EQUALS | Comparator.ONE_OF:
            return any(_same(left, argument) for argument in arguments)
        case Comparator.DIFFERS:
            return first is not None and not _same(left, first)
        case Comparator.NONE_OF:
            return not any(_same(left, argument) for argument in arguments)
        case Comparator.CONTAINS:
            return any(argument is not None and _text(argument) in _text(left) for argument in arguments)
        case Comparator.STARTS_WITH:
            return first is not None and _text(left).startswith(_text(first))
        case Comparator.ENDS_WITH:
            return first is not None and _text(left).endswith(_text(first))
        case Comparator.GREATER_THAN | Comparator.AT_LEAST | Comparator.LESS_THAN | Comparator.AT_MOST:
            one, other = _number(left), _number(first)
            if one is None or other is None:
                return False
            return {
                Comparator.GREATER_THAN: one > other,
                Comparator.AT_LEAST: one >= other,
                Comparator.LESS_THAN: one < other,
                Comparator.AT_MOST: one <= other,
            }[comparator]
        case Comparator.BEFORE_DATE | Comparator.AFTER_DATE:
            one_at, other_at = _instant(left), _instant(first)
            if one_at is None or other_at is None:
                return False
            return one_at < other_at if comparator is Comparator.BEFORE_DATE else one_at > other_at
        case _:
            return _around(comparator, left, first, as_of)


def _around(comparator: Comparator, left: Any, duration: tree.Duration, as_of: datetime) -> bool:
    at = _instant(left)
    if at is None:
        return False
    value: Any = at
    now: Any = as_of
    if duration.unit in (tree.Unit.DAY, tree.Unit.WEEK):
        value, now = at.astimezone(UTC).date(), as_of.astimezone(UTC).date()
    match comparator:
        case Comparator.WITHIN_LAST:
            return bool(now - duration.delta <= value <= now)
        case Comparator.WITHIN_NEXT:
            return bool(now <= value <= now + duration.delta)
        case Comparator.BEFORE_LAST:
            return bool(value <= now - duration.delta)
        case _:
            return bool(value >= now + duration.delta)


def _values(value: Any, person: Person, as_of: datetime, event: Event | None) -> list[Any]:
    match value:
        case tree.LiteralValue():
            return [value.value]
        case tree.TraitRef():
            return _trait(value, person)
        case tree.PropertyRef():
            assert event is not None
            return list(_walk(event.properties, value.path))
        case tree.ContextRef():
            assert event is not None
            return list(_walk(event.context or {}, value.path))
        case tree.Aggregate():
            return [_reduce(value, person, as_of)]
        case _:
            raise NotImplementedError(value)


def _trait(reference: tree.TraitRef, person: Person) -> list[Any]:
    root, *path = reference.path
    document = person.definitions.get(root, person.traits.get(root))
    return list(_walk(document, path))


def _walk(document: Any, path: Sequence[str]) -> Iterator[Any]:
    if not path:
        yield document
    elif path[0] == "$":
        if isinstance(document, list):
            for item in document:
                yield from _walk(item, path[1:])
    elif isinstance(document, Mapping) and path[0] in document:
        yield from _walk(document[path[0]], path[1:])
    else:
        yield None


def _events(stream: tree.Stream, person: Person, as_of: datetime) -> list[Event]:
    found = [each for each in person.events if each.name == stream.event and each.timestamp <= as_of]
    for filter_ in stream.filters:
        match filter_:
            case tree.Where():
                found = [each for each in found if is_member(filter_.condition, person, as_of, each)]
            case tree.Sources():
                found = [each for each in found if each.source not in filter_.exclude]
            case tree.Within():
                found = [each for each in found if each.timestamp >= as_of - filter_.duration.delta]
            case tree.Between():
                near, far = as_of - filter_.nearest.delta, as_of - filter_.farthest.delta
                found = [each for each in found if far <= each.timestamp <= near]
    return sorted(found, key=lambda each: (each.timestamp, each.arrival))


def _reduce(aggregate: tree.Aggregate, person: Person, as_of: datetime) -> Any:
    events = _events(aggregate.stream, person, as_of)
    reducer = aggregate.reducer
    if isinstance(reducer, tree.Count):
        return len(events)
    values = [value for event in events for value in _values(reducer.of, person, as_of, event) if value is not None]
    numbers = [number for number in map(_number, values) if number is not None]
    texts = [_text(value) for value in values]
    match reducer:
        case tree.Sum():
            return sum(numbers, Fraction(0)) if numbers else None
        case tree.Avg():
            return sum(numbers, Fraction(0)) / len(numbers) if numbers else None
        case tree.Min():
            return min(texts if reducer.as_string else numbers, default=None)
        case tree.Max():
            return max(texts if reducer.as_string else numbers, default=None)
        case tree.First():
            return values[0] if values else None
        case tree.Last():
            return _last(reducer, events, person, as_of)
        case tree.Unique():
            return sorted(set(texts)) or None
        case tree.UniqueCount():
            return len(set(texts))
        case tree.Mode():
            counted = Counter(texts)
            often = [(-times, text) for text, times in counted.items() if times >= reducer.minimum]
            return min(often)[1] if often else None
        case _:
            raise NotImplementedError(reducer)


def _last(reducer: tree.Last, events: list[Event], person: Person, as_of: datetime) -> Any:
    """The last value of the last event that has one."""
    values = [v for event in events for v in _values(reducer.of, person, as_of, event) if v is not None]
    return values[-1] if values else None


def _number(value: Any) -> Fraction | None:
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, Fraction):
        return value
    if isinstance(value, int | Decimal):
        return Fraction(value)
    if isinstance(value, float):
        return Fraction(repr(value))
    if isinstance(value, str) and re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,2})?", value, re.ASCII):
        return Fraction(Decimal(value))
    return None


def _text(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case Fraction():
            return str(_outside(value))
        case datetime() | date():
            return value.isoformat()
        case dict() | list():
            return json.dumps(value)
        case _:
            return str(value)


def _same(one: Any, other: Any) -> bool:
    if other is None:
        return False
    if isinstance(other, date):
        return _instant(one) == _instant(other)
    first, second = _number(one), _number(other)
    if first is not None and second is not None:
        return first == second
    return _text(one) == _text(other)


def _instant(value: Any) -> datetime | None:
    match value:
        case datetime():
            return value
        case date():
            return datetime.combine(value, time(), UTC)
        case bool():
            return None
        case int() | float() | Fraction():
            seconds = float(value) if abs(value) < 10**11 else float(value) / 1000
            return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
        case str() if re.match(r"\d{4}-\d\d-\d\d", value):
            try:
                read = datetime.fromisoformat(value)
            except ValueError:
                return None
            return read if read.tzinfo else read.replace(tzinfo=UTC)
        case _:
            return None


def _outside(value: Fraction) -> float:
    """At most 15 significant digits, as a JSON float."""
    return float(f"{Decimal(value.numerator) / Decimal(value.denominator):.14e}")
