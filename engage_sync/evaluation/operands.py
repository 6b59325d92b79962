"""Values inside a query, and what can be asked of them, as SQL expressions.

The language knows true and false only; an absent value makes every comparison false, but `absent()` and `omits` (rules:
docs/decisions/0004-semantics.md). In SQL such a false may be null, which a WHERE and a FILTER take for the same, and
which AND and OR carry on; whoever negates a condition asks for `known(condition)`, which is never null. Elsewhere that
is left out, as the planner sees through a bare comparison and guesses blindly behind a coalesce.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, assert_never

from sqlalchemy import ColumnElement, Date, DateTime, Numeric, Text, and_, case, cast, func, literal, not_, or_, select

from engage_sync.definitions.language.tree import Comparator, Duration, Unit

Condition = ColumnElement[bool]
TEXT = Text(collation="C")
_NUMBER_TEXT = r"[+-]?([0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40})([eE][+-]?[0-9]{1,2})?"


class Kind(StrEnum):
    """How a value lies in SQL: as JSON, read when asked; as numeric; as text; as an array of text."""

    JSON = "json"
    NUMBER = "number"
    TEXT = "text"
    LIST = "list"


@dataclass(frozen=True, kw_only=True, slots=True)
class Operand:
    """One value of a query. A literal keeps its Python value, so that its type is known before Postgres sees it."""

    kind: Kind
    expression: ColumnElement[Any]
    constant: str | int | Decimal | date | datetime | None = None


def number(operand: Operand) -> ColumnElement[Decimal | None]:
    """The value as a number; null where it is none."""
    if operand.constant is not None:
        read = read_number(operand.constant)
        return cast(literal(read, Numeric), Numeric) if read is not None else cast(None, Numeric)
    match operand.kind:
        case Kind.JSON:
            return func.engage_number(operand.expression, type_=Numeric)
        case Kind.NUMBER:
            return operand.expression
        case Kind.TEXT:
            return func.engage_number(func.to_jsonb(operand.expression), type_=Numeric)
        case Kind.LIST:
            return cast(None, Numeric)
        case _:
            assert_never(operand.kind)


def as_text(operand: Operand) -> ColumnElement[str | None]:
    """The value as text, by code point; null where it is absent."""
    if operand.constant is not None:
        return literal(constant_text(operand.constant), TEXT)
    match operand.kind:
        case Kind.JSON:
            return func.engage_text(operand.expression, type_=TEXT)
        case Kind.NUMBER:
            return cast(operand.expression, TEXT)
        case Kind.TEXT:
            return operand.expression
        case Kind.LIST:
            return cast(func.to_jsonb(operand.expression), TEXT)
        case _:
            assert_never(operand.kind)


def instant(operand: Operand) -> ColumnElement[datetime | None]:
    """The value as an instant (ISO 8601, or a Unix time); null where it is none."""
    if operand.constant is not None:
        read = read_instant(operand.constant)
        return literal(read, DateTime(timezone=True)) if read is not None else cast(None, DateTime(timezone=True))
    given = operand.expression if operand.kind is Kind.JSON else func.to_jsonb(operand.expression)
    return func.engage_instant(given, type_=DateTime(timezone=True))


def present(operand: Operand) -> Condition:
    """Whether there is a value: neither a missing path nor null."""
    if operand.kind is Kind.JSON:
        return func.coalesce(func.jsonb_typeof(operand.expression) != "null", literal(False))
    return operand.expression.is_not(None)


def compare(left: Operand, comparator: Comparator, arguments: Sequence[Operand | Duration], as_of: Any) -> Condition:
    """What `left.comparator(arguments…)` says; null is false. `as_of` is the instant's bound parameter."""
    match comparator:
        case Comparator.EXISTS:
            return present(left)
        case Comparator.ABSENT:
            return not_(present(left))
        case Comparator.OMITS:
            return not_(known(_any(arguments, lambda argument: _contains(left, argument))))
        case Comparator.DIFFERS:
            other = _value(arguments[0])
            both = present(left) if other.constant is not None else and_(present(left), present(other))
            return and_(both, not_(known(_equal(left, [other]))))
        case Comparator.NONE_OF:
            return and_(present(left), not_(known(_equal(left, _values(arguments)))))
        case Comparator.EQUALS | Comparator.ONE_OF:
            return _equal(left, _values(arguments))
        case Comparator.CONTAINS:
            return _any(arguments, lambda argument: _contains(left, argument))
        case Comparator.STARTS_WITH:
            return func.starts_with(as_text(left), as_text(_value(arguments[0])))
        case Comparator.ENDS_WITH:
            ending = as_text(_value(arguments[0]))
            return func.right(as_text(left), func.length(ending)) == ending
        case Comparator.GREATER_THAN:
            return number(left) > number(_value(arguments[0]))
        case Comparator.AT_LEAST:
            return number(left) >= number(_value(arguments[0]))
        case Comparator.LESS_THAN:
            return number(left) < number(_value(arguments[0]))
        case Comparator.AT_MOST:
            return number(left) <= number(_value(arguments[0]))
        case Comparator.BEFORE_DATE:
            return instant(left) < instant(_value(arguments[0]))
        case Comparator.AFTER_DATE:
            return instant(left) > instant(_value(arguments[0]))
        case Comparator.WITHIN_LAST | Comparator.WITHIN_NEXT | Comparator.BEFORE_LAST | Comparator.AFTER_NEXT:
            return _around(left, comparator, _duration(arguments[0]), as_of)
        case _:
            assert_never(comparator)


def read_number(value: str | int | Decimal | date | datetime) -> Decimal | None:
    """What a literal reads as, by the same rule as engage_number() in the database."""
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return Decimal(value)
    if isinstance(value, str) and re.fullmatch(_NUMBER_TEXT, value, re.ASCII):
        return Decimal(value)
    return None


def read_instant(value: str | int | Decimal | date | datetime) -> datetime | None:
    """A literal date is its midnight in UTC; a number a Unix time in seconds, or from 1e11 on in milliseconds."""
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return datetime.combine(value, time(), UTC)
    if isinstance(value, int | Decimal):
        seconds = Decimal(value) if abs(Decimal(value)) < 10**11 else Decimal(value) / 1000
        try:
            return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=float(seconds))
        except OverflowError:
            return None
    try:
        read = datetime.fromisoformat(value.replace(",", "."))
    except ValueError:
        return None
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def constant_text(value: str | int | Decimal | date | datetime) -> str:
    """A literal as the text that it is compared with."""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    return str(value)


def _equal(left: Operand, right: Sequence[Operand]) -> Condition:
    """Whether left equals any of them: as numbers where both sides read as one, else as text."""
    ways: list[Condition] = []
    numbers: list[Decimal] = []
    texts: list[str] = []
    for each in right:
        read = read_number(each.constant) if each.constant is not None else None
        if isinstance(each.constant, date):
            ways.append(instant(left) == instant(each))
        elif each.constant is not None and read is None:
            texts.append(constant_text(each.constant))
        elif each.constant is not None and read is not None and read_number(constant_text(each.constant)) is not None:
            # Whoever has the same text reads as the same number.
            numbers.append(read)
        else:
            left_number, right_number = number(left), number(each)
            both = and_(left_number.is_not(None), right_number.is_not(None))
            ways.append(case((both, left_number == right_number), else_=as_text(left) == as_text(each)))
    if numbers:
        ways.append(_one_of(number(left), numbers, Numeric()))
    if texts:
        ways.append(_one_of(as_text(left), texts, TEXT))
    return or_(*ways)


def _one_of(value: ColumnElement[Any], constants: Sequence[Any], type_: Any) -> Condition:
    found = [
        cast(literal(constant, type_), type_) if type_ is not TEXT else literal(constant, TEXT)
        for constant in constants
    ]
    return value == found[0] if len(found) == 1 else value.in_(found)


def _contains(left: Operand, right: Operand) -> Condition:
    """Of a list, whether any of its texts does."""
    if left.kind is Kind.LIST:
        item = func.unnest(left.expression).table_valued("value", name="item").render_derived()
        return select(literal(1)).select_from(item).where(func.strpos(item.c.value, as_text(right)) > 0).exists()
    return func.strpos(as_text(left), as_text(right)) > 0


def _around(left: Operand, comparator: Comparator, duration: Duration, as_of: Any) -> Condition:
    """Days and weeks compare calendar dates in UTC; hours and minutes compare instants."""
    value: ColumnElement[Any] = instant(left)
    now: ColumnElement[Any] = as_of
    span: ColumnElement[Any] = literal(duration.delta)
    if duration.unit in (Unit.DAY, Unit.WEEK):
        value = cast(func.timezone("UTC", value), Date)
        now = cast(func.timezone("UTC", as_of), Date)
        span = literal(duration.delta.days)
    match comparator:
        case Comparator.WITHIN_LAST:
            return and_(value >= now - span, value <= now)
        case Comparator.WITHIN_NEXT:
            return and_(value >= now, value <= now + span)
        case Comparator.BEFORE_LAST:
            return value <= now - span
        case _:
            return value >= now + span


def _any(arguments: Sequence[Operand | Duration], one: Callable[[Operand], Condition]) -> Condition:
    return or_(*(one(_value(argument)) for argument in arguments))


def _value(argument: Operand | Duration) -> Operand:
    assert isinstance(argument, Operand), "the type checker lets no window stand here"
    return argument


def _values(arguments: Sequence[Operand | Duration]) -> list[Operand]:
    return [_value(argument) for argument in arguments]


def _duration(argument: Operand | Duration) -> Duration:
    assert isinstance(argument, Duration), "the type checker lets only a window stand here"
    return argument


def known(condition: ColumnElement[Any]) -> Condition:
    """The condition, with false for null."""
    return func.coalesce(condition, literal(False))
