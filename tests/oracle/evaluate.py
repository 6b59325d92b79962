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
    """`traits` are those that were sent; `definitions` what other definitions say: absent, or a value.

    `keys` are the keys of all definitions: a trait by one of these names is never one that was sent.
    """

    keys: frozenset[str] = frozenset()
    events: list[Event] = field(default_factory=list)
    traits: dict[str, Any] = field(default_factory=dict)
    definitions: dict[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True)
class Account:
    """`users` are those of its members who count; `traits` what group calls said of it."""

    users: list[Person] = field(default_factory=list)
    traits: dict[str, Any] = field(default_factory=dict)

    @property
    def events(self) -> list[Event]:
        return [event for user in self.users for event in user.events]


@dataclass(frozen=True, kw_only=True)
class At:
    """The event that `where` looks at, and the one around it."""

    event: Event | None = None
    parent: Event | None = None


NOWHERE = At()


def is_member(expression: Any, person: Person | Account, as_of: datetime) -> bool:
    """Whether a condition holds for a person, or for an account."""
    return _holds(expression, person, as_of, NOWHERE, negated=False)


def _holds(expression: Any, person: Person | Account, as_of: datetime, at: At, *, negated: bool) -> bool:
    """Whether a condition holds, or its negation; of a window that is open neither may."""
    match expression:
        case tree.And() | tree.Or():
            told = [_holds(each, person, as_of, at, negated=negated) for each in expression.operands]
            return all(told) if isinstance(expression, tree.And) is not negated else any(told)
        case tree.Not():
            return _holds(expression.operand, person, as_of, at, negated=not negated)
        case tree.Comparison():
            if _is_open(expression, as_of, at) and not _may_be_told(expression, negated):
                return False
            return _compare(expression, person, as_of, at) is not negated
        case tree.AnyUser(operand=operand):
            assert isinstance(person, Account)
            return any(is_member(operand, user, as_of) for user in person.users) is not negated
        case tree.AllUsers(operand=operand):
            assert isinstance(person, Account)
            everyone = bool(person.users) and all(is_member(operand, user, as_of) for user in person.users)
            return everyone is not negated
        case _:
            raise NotImplementedError(expression)


def _is_open(comparison: tree.Comparison, as_of: datetime, at: At) -> bool:
    """Whether more events may come that belong to what a comparison looks at: to the window after an event."""
    if at.event is None or not isinstance(comparison.left, tree.Aggregate):
        return False
    own = _window_after(comparison.left.stream)
    return own is not None and at.event.timestamp + own + _longest_below(comparison.left.stream) > as_of


def _may_be_told(comparison: tree.Comparison, negated: bool) -> bool:
    """More events can only add to a count."""
    assert isinstance(comparison.left, tree.Aggregate)
    if comparison.comparator is Comparator.EXISTS:
        return not negated
    counts = isinstance(comparison.left.reducer, tree.Count | tree.UniqueCount)
    rising = (Comparator.AT_LEAST, Comparator.GREATER_THAN)
    falling = (Comparator.AT_MOST, Comparator.LESS_THAN)
    return counts and comparison.comparator in (falling if negated else rising)


def _window_after(stream: tree.Stream) -> timedelta | None:
    found = []
    for each in stream.filters:
        if isinstance(each, tree.Within) and each.of_parent:
            found.append(each.duration.delta)
        if isinstance(each, tree.Between) and each.of_parent:
            found.append(each.farthest.delta)
    return min(found, default=None)


def _longest_below(stream: tree.Stream) -> timedelta:
    longest = timedelta(0)
    for each in stream.filters:
        if isinstance(each, tree.Where):
            for below in _streams_in(each.condition):
                longest = max(longest, (_window_after(below) or timedelta(0)) + _longest_below(below))
    return longest


def _streams_in(expression: Any) -> Iterator[tree.Stream]:
    match expression:
        case tree.And() | tree.Or():
            for each in expression.operands:
                yield from _streams_in(each)
        case tree.Not():
            yield from _streams_in(expression.operand)
        case tree.Comparison(left=tree.Aggregate(stream=stream)):
            yield stream
        case _:
            return


def value_of(definition: Any, person: Person | Account, as_of: datetime) -> Any:
    """The value of a computed trait as it is stored; None: no value."""
    if isinstance(definition, tree.TraitRef):
        found = [each for each in _trait(definition, person) if each is not None]
        return found[0] if found else None
    if not _events(definition.stream, person, as_of, None):
        return None
    value = _reduce(definition, person, as_of, NOWHERE)
    if isinstance(value, Fraction):
        return _outside(value)
    return value


def _compare(comparison: tree.Comparison, person: Person | Account, as_of: datetime, at: At) -> bool:
    lefts = [each for each in _values(comparison.left, person, as_of, at) if each is not None]
    arguments: list[Any] = []
    for argument in comparison.arguments:
        if isinstance(argument, tree.Duration):
            arguments.append(argument)
        else:
            arguments.extend(_values(argument, person, as_of, at) or [None])
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
    if len(arguments) > 1 and comparator not in (Comparator.ONE_OF, Comparator.NONE_OF, Comparator.CONTAINS):
        # One argument with several values, as `$` finds them: any of them will do.
        return any(_one(comparator, left, [argument], as_of) for argument in arguments)
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


def _values(value: Any, person: Person | Account, as_of: datetime, at: At) -> list[Any]:
    match value:
        case tree.LiteralValue():
            return [value.value]
        case tree.TraitRef():
            return _trait(value, person)
        case tree.PropertyRef():
            event = at.parent if value.parent else at.event
            assert event is not None
            return list(_walk(event.properties, value.path))
        case tree.ContextRef():
            assert at.event is not None
            return list(_walk(at.event.context or {}, value.path))
        case tree.Aggregate():
            return [_reduce(value, person, as_of, at)]
        case _:
            raise NotImplementedError(value)


def _trait(reference: tree.TraitRef, person: Person | Account) -> list[Any]:
    root, *path = reference.path
    if isinstance(person, Account):
        return list(_walk(person.traits.get(root), path))
    document = person.definitions.get(root) if root in person.keys else person.traits.get(root)
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


def _events(stream: tree.Stream, person: Person | Account, as_of: datetime, parent: Event | None) -> list[Event]:
    found = [each for each in person.events if each.name == stream.event and each.timestamp <= as_of]
    if parent is not None:
        found = [each for each in found if each.timestamp > parent.timestamp]
    for filter_ in stream.filters:
        match filter_:
            case tree.Where():
                condition = filter_.condition
                found = [
                    each
                    for each in found
                    if _holds(condition, person, as_of, At(event=each, parent=parent), negated=False)
                ]
            case tree.Sources():
                found = [each for each in found if each.source not in filter_.exclude]
            case tree.Within(of_parent=True):
                assert parent is not None
                found = [each for each in found if each.timestamp <= parent.timestamp + filter_.duration.delta]
            case tree.Between(of_parent=True):
                assert parent is not None
                soonest, latest = parent.timestamp + filter_.nearest.delta, parent.timestamp + filter_.farthest.delta
                found = [each for each in found if soonest <= each.timestamp <= latest]
            case tree.Within():
                found = [each for each in found if each.timestamp >= as_of - filter_.duration.delta]
            case tree.Between():
                near, far = as_of - filter_.nearest.delta, as_of - filter_.farthest.delta
                found = [each for each in found if far <= each.timestamp <= near]
    return sorted(found, key=lambda each: (each.timestamp, each.arrival))


def _reduce(aggregate: tree.Aggregate, person: Person | Account, as_of: datetime, around: At) -> Any:
    events = _events(aggregate.stream, person, as_of, around.event)
    reducer = aggregate.reducer
    if isinstance(reducer, tree.Count):
        return len(events)
    each_at = [At(event=event, parent=around.event) for event in events]
    values = [value for at in each_at for value in _values(reducer.of, person, as_of, at) if value is not None]
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
            return values[-1] if values else None
        case tree.Unique():
            return sorted(set(texts)) or None
        case tree.UniqueCount():
            return len(set(texts))
        case tree.Mode():
            counted = Counter(_text(value) for value in values if isinstance(value, list) or not reducer.as_array)
            often = [(-times, text) for text, times in counted.items() if times >= reducer.minimum]
            found = min(often)[1] if often else None
            return json.loads(found) if found is not None and reducer.as_array else found
        case _:
            raise NotImplementedError(reducer)


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
        case float():
            return format(Decimal(repr(value)), "f")
        case dict() | list():
            return _json_text(value)
        case _:
            return str(value)


def _json_text(value: Any) -> str:
    """As Postgres writes jsonb: a space behind commas and colons, keys by length, numbers in full."""
    match value:
        case dict():
            items = sorted(value.items(), key=lambda item: (len(item[0].encode()), item[0].encode()))
            return (
                "{" + ", ".join(f"{json.dumps(key, ensure_ascii=False)}: {_json_text(one)}" for key, one in items) + "}"
            )
        case list():
            return "[" + ", ".join(map(_json_text, value)) + "]"
        case str():
            return json.dumps(value, ensure_ascii=False)
        case None:
            return "null"
        case _:
            return _text(value)


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
        case int() | float() | Fraction() if abs(value) >= 10**14:
            return None  # no instant that anybody means
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
